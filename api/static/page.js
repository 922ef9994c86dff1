// The page: asks, shows sentences as they come, opens a footnote in its document. Nothing is loaded from elsewhere, and
// all text of documents and answers goes in as text, never as markup.

const CONTEXT = 4000; // characters of the document shown on each side of a quote, and per "more"

const byId = (id) => document.getElementById(id);
const [askForm, question, collection, answer, notes, notice, facts, result, source, sourceText] = [
  "ask", "question", "collection", "answer", "notes", "notice", "facts", "result", "source", "source-text",
].map(byId);

let citations = []; // footnote n stands at index n - 1
let running = null; // AbortController of the question under way
let asked = 0; // when it was asked, in ms

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function call(path, options = {}) {
  const key = sessionStorage.getItem("api-key");
  const headers = { ...options.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401) {
    byId("key").hidden = false;
    throw new Error(key ? "The server does not know this key." : "");
  }
  const problem = await response.json().catch(() => ({ title: response.statusText, detail: "" }));
  throw new Error(problem.detail || problem.title);
}

// ---- asking

async function ask(name, text) {
  running?.abort();
  running = new AbortController();
  asked = performance.now();
  clear();
  result.setAttribute("aria-busy", "true");
  try {
    const response = await call(`v1/collections/${encodeURIComponent(name)}/answer`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question: text, stream: true }),
      signal: running.signal,
    });
    let last = "";
    for await (const event of events(response.body)) {
      show(event);
      last = event.name;
    }
    if (last !== "answer" && last !== "error") complain("The connection ended before the answer was complete.");
  } catch (error) {
    if (error.name !== "AbortError") complain(error.message);
    else return;
  }
  result.setAttribute("aria-busy", "false");
}

// Server-sent events of a response body: {name, data}. Comments, the heartbeat among them, are skipped.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
      if (fields.data) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

function show({ name, data }) {
  if (name === "sentence") showSentence(data);
  if (name === "error") complain(data.detail);
  if (name === "answer") {
    // The final object is the one that counts: draw it anew if the sentences so far are not the same.
    if (answer.querySelectorAll(".sentence").length !== data.sentences.length) {
      clear();
      data.sentences.forEach(showSentence);
    }
    answer.classList.toggle("declined", data.status === "declined");
    const seconds = (performance.now() - asked) / 1000;
    const parts = [data.model, `evidence ${data.evidence.toFixed(2)}`, `${seconds.toFixed(2)} s`];
    if (data.dropped_citations) parts.push(`${data.dropped_citations} unverifiable citations removed`);
    facts.textContent = parts.join(" · ");
  }
}

function showSentence({ text, citations: cited }) {
  const sentence = make("span", { className: "sentence" }, text);
  for (const citation of cited) {
    const number = numberOf(citation);
    sentence.append(make("button", {
      className: "ref", type: "button", textContent: number, title: place(citation), onclick: () => open(number),
    }));
  }
  answer.append(sentence, " ");
}

// The same passage has one number, however many sentences cite it.
function numberOf(citation) {
  const same = (other) => ["doc_id", "version", "start", "end"].every((field) => other[field] === citation[field]);
  const known = citations.findIndex(same);
  if (known >= 0) return known + 1;
  citations.push(citation);
  const number = citations.length;
  notes.append(make("li", {}, make("button", { type: "button", onclick: () => open(number) }, make("span", {},
    make("span", { className: "place", textContent: `${place(citation)}: ` }),
    make("q", { textContent: shorten(citation.quote) })))));
  return number;
}

function place({ title, source_uri: uri, page }) {
  const file = decodeURIComponent(uri.split("/").pop());
  const named = title && !file.startsWith(title); // a file without a title of its own is called by its name
  return [named ? `${title} (${file})` : file, page ? `page ${page}` : ""].filter(Boolean).join(", ");
}

function shorten(text) {
  const plain = text.replace(/\s+/g, " ");
  return plain.length > 180 ? `${plain.slice(0, 180).replace(/\s\S*$/, "")} …` : plain;
}

function complain(message) {
  notice.textContent = message;
  notice.hidden = !message;
}

function clear() {
  citations = [];
  answer.replaceChildren();
  answer.classList.remove("declined");
  notes.replaceChildren();
  notice.hidden = true;
  facts.textContent = "";
  close();
}

// ---- a footnote in its document

async function open(number) {
  const citation = citations[number - 1];
  document.querySelectorAll("[aria-current]").forEach((node) => node.removeAttribute("aria-current"));
  notes.children[number - 1].firstChild.setAttribute("aria-current", "true");
  byId("source-title").textContent = citation.title || citation.source_uri;
  byId("source-place").textContent = citation.source_uri;
  byId("source-check").textContent = "";
  sourceText.replaceChildren();
  source.hidden = false;
  document.body.classList.add("reading");
  try {
    await showPassage(citation);
  } catch (error) {
    byId("source-check").textContent = error.message;
    byId("source-check").className = "differs";
  }
}

function fetchText({ doc_id: id, version }, start, end) {
  const range = new URLSearchParams({ start: Math.max(0, start), end: Math.max(0, end), version });
  const path = `v1/collections/${encodeURIComponent(collection.value)}/documents/${encodeURIComponent(id)}`;
  return call(`${path}?${range}`).then((response) => response.json());
}

async function showPassage(citation) {
  const shown = await fetchText(citation, citation.start - CONTEXT, citation.end + CONTEXT);
  const letters = Array.from(shown.text); // offsets count code points, a JavaScript string counts UTF-16 units
  const [start, end] = [citation.start - shown.start, citation.end - shown.start];
  const quoted = letters.slice(start, end).join("");
  const check = byId("source-check");
  check.className = quoted === citation.quote ? "verbatim" : "differs";
  check.textContent = quoted === citation.quote
    ? `✓ verbatim: characters ${citation.start}–${citation.end}` + (citation.page ? `, page ${citation.page}` : "")
    : "The text at this place differs from the quote.";
  const mark = make("mark", { textContent: quoted });
  sourceText.replaceChildren(letters.slice(0, start).join(""), mark, letters.slice(end).join(""));
  addMore(citation, shown.start, shown.end, shown.characters);
  mark.scrollIntoView({ block: "center" });
}

function addMore(citation, first, last, characters) {
  if (first > 0) {
    const more = make("button", { className: "more", type: "button", textContent: "↑ earlier text" });
    more.onclick = async () => {
      const before = await fetchText(citation, first - CONTEXT, first);
      first = before.start;
      more.after(before.text);
      if (first === 0) more.remove();
    };
    sourceText.prepend(more);
  }
  if (last < characters) {
    const more = make("button", { className: "more", type: "button", textContent: "↓ later text" });
    more.onclick = async () => {
      const after = await fetchText(citation, last, last + CONTEXT);
      last = after.end;
      more.before(after.text);
      if (last >= characters) more.remove();
    };
    sourceText.append(more);
  }
}

function close() {
  source.hidden = true;
  document.body.classList.remove("reading");
  document.querySelectorAll("[aria-current]").forEach((node) => node.removeAttribute("aria-current"));
}

// ---- the form, the address, the start

function grow() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight + 2}px`;
}

async function start() {
  const wanted = new URLSearchParams(location.search);
  try {
    const { collections } = await (await call("v1/collections")).json();
    collection.replaceChildren(...collections.map((name) => make("option", { value: name, textContent: name })));
    if (collections.includes(wanted.get("c"))) collection.value = wanted.get("c");
    if (!collections.length) complain("There is no collection yet. Make one: footnote ingest FOLDER --collection NAME");
  } catch (error) {
    complain(error.message);
    return;
  }
  if (wanted.get("q")) {
    question.value = wanted.get("q");
    grow();
    await ask(collection.value, question.value);
    if (wanted.get("note") && citations.length) open(Math.min(Number(wanted.get("note")) || 1, citations.length));
  }
}

askForm.onsubmit = (event) => {
  event.preventDefault();
  if (!question.value.trim() || !collection.value) return;
  const address = new URLSearchParams({ c: collection.value, q: question.value });
  history.replaceState(null, "", `?${address}`);
  ask(collection.value, question.value);
};
question.oninput = grow;
onresize = grow;
question.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    askForm.requestSubmit();
  }
};
byId("key").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("api-key", byId("api-key").value);
  byId("key").hidden = true;
  notice.hidden = true;
  start();
};
byId("close").onclick = close;
document.onkeydown = (event) => {
  if (event.key === "Escape") close();
};
start();
