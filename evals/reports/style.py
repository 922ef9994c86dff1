"""The style sheet of the HTML report: part of the page, so that it needs nothing from anywhere."""

CSS = """
:root { color-scheme: light dark;
  --paper: #fff; --ink: #1b1f24; --muted: #59636e; --line: #d5dae0; --band: #f5f7f9;
  --better: #0067a5; --worse: #c2410c; --pass: #1a7f37; --warn: #8a6100; --fail: #c1121f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171b; --ink: #e6e9ed; --muted: #9aa5b1; --line: #353c45; --band: #1d2228;
  --better: #58a6e8; --worse: #f0883e; --pass: #4cc26b; --warn: #e0b341; --fail: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
p { margin: .4rem 0; max-width: 50rem; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.verdict { margin: 1.25rem 0; padding: .9rem 1.1rem; border: 1px solid var(--line); border-left: .5rem solid;
  border-radius: .3rem; background: var(--band); overflow-wrap: anywhere; }
.verdict strong { font-size: 1.25rem; margin-right: .6rem; }
.verdict ul { margin: .5rem 0 0; padding-left: 1.2rem; }
.pass { border-left-color: var(--pass); } .pass > strong, td.pass { color: var(--pass); }
.warn { border-left-color: var(--warn); } .warn > strong, td.warn { color: var(--warn); }
.fail { border-left-color: var(--fail); } .fail > strong, td.fail { color: var(--fail); }
td.pass, td.warn, td.fail { font-weight: 600; } table.narrow { width: auto; min-width: min(100%, 34rem); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: .35rem; }
th, td { padding: .32rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--muted); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
td.better { color: var(--better); } td.worse { color: var(--worse); }
figure { margin: 1rem 0; } figcaption { color: var(--muted); font-size: .9rem; }
.wide { overflow-x: auto; } .wide svg { min-width: 36rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-end; }
.plots figure { flex: 1 1 20rem; margin: .5rem 0; } .plots figure:first-child { flex-grow: 2; }
svg { display: block; width: 100%; height: auto; font-size: 13px; overflow: visible; }
svg text { fill: var(--ink); } svg text.muted { fill: var(--muted); } svg text.gated { font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .zero { stroke: var(--muted); stroke-width: 1.5; }
svg .limit { stroke: var(--fail); stroke-width: 1.5; stroke-dasharray: 4 4; }
svg .whisker { stroke-width: 2; }
svg line.better { stroke: var(--better); } svg line.worse { stroke: var(--worse); }
svg line.equal { stroke: var(--muted); }
svg .better { fill: var(--better); } svg .worse { fill: var(--worse); } svg .equal { fill: var(--muted); }
svg .spot { fill-opacity: .55; }
.query { margin: 1rem 0 1.5rem; border: 1px solid var(--line); border-radius: .3rem; padding: .6rem 1rem 1rem; }
.query > summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
.query > summary .delta { float: right; margin-left: 1rem; font-variant-numeric: tabular-nums; }
.delta.better { color: var(--better); } .delta.worse { color: var(--worse); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 2rem; }
.sides td, .sides th { padding: .22rem .45rem; } .sides td { overflow-wrap: anywhere; }
.sides tr.relevant { background: var(--band); }
.sides tr.relevant td:first-child { box-shadow: inset 3px 0 var(--pass); }
.why { color: var(--muted); font-size: .85rem; }
footer { margin-top: 3rem; color: var(--muted); font-size: .88rem; }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } figure, tr { break-inside: avoid; }
  h2, h3, h2 + p, summary { break-after: avoid; } .scroll, .wide { overflow: visible; } .wide svg { min-width: 0; } }
"""
