"""Writes the PDF and the Word file of the example documents; run it after changing their text below.

    .venv/bin/python examples/make_binaries.py

Both files are committed, so nobody needs this to run the demo. The texts are invented, like the rest of Skerry Line.
"""

import textwrap
from ctypes import POINTER, c_ushort, cast
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from docx import Document

HERE = Path(__file__).parent / "skerry-line"
A4 = (595, 842)  # points
MARGIN = 64
FONTS = {"title": ("Helvetica-Bold", 20), "heading": ("Helvetica-Bold", 14), "text": ("Helvetica", 11)}
LINE_CHARACTERS = 88

MANUAL = [
    [
        ("title", "Safety manual"),
        (
            "text",
            "Skerry Line, all vessels. Edition 12, in force from 1 February 2026. Approved by Captain Anneke Brandt, "
            "designated person ashore. Paper copies are kept on the bridge, in the engine control room and in the "
            "crew mess; a copy older than edition 12 is to be destroyed.",
        ),
        ("heading", "1 Who is responsible"),
        (
            "text",
            "The master is responsible for the safety of everyone on board and answers to nobody but the designated "
            "person ashore, who can be called at any hour on +99 555 0101. The chief officer keeps this manual up to "
            "date and leads the drills. The chief engineer is responsible for fire pumps, emergency lighting and the "
            "emergency generator.",
        ),
        ("text", "Every member of the crew may stop any work that looks unsafe. Nobody is blamed for stopping work."),
    ],
    [
        ("heading", "2 Drills and inspections"),
        (
            "text",
            "Fire and abandon-ship drills are held every week on each vessel, within 24 hours of leaving port when "
            "more than a quarter of the crew has changed. A man-overboard drill is held every month, and once a year "
            "at night.",
        ),
        (
            "text",
            "Life jackets are inspected every six months. Inflatable life rafts are sent to the service station in "
            "Vestvik every twelve months. The emergency generator is started every Monday and run under load for "
            "30 minutes; it has to take over within 45 seconds of a blackout.",
        ),
        (
            "text",
            "Each vessel carries life jackets for 110 percent of its passengers, and children's life jackets for 12 "
            "percent. They are stowed at the muster stations, not in the cabins.",
        ),
    ],
    [
        ("heading", "3 Fire"),
        (
            "text",
            "Whoever finds a fire presses the nearest call point and calls the bridge on extension 9. Do not fight a "
            "fire alone, and never without an escape route behind you.",
        ),
        (
            "text",
            "The fixed carbon dioxide system of the engine room is released by the chief engineer on the master's "
            "order only, after everyone has been counted. Dampers are closed first. The room stays shut for at least "
            "60 minutes after the release.",
        ),
        ("heading", "3.1 Battery fires on MV Sandpiper"),
        (
            "text",
            "The battery rooms of MV Sandpiper are flooded with water mist at 2.4 litres a minute and square metre. A "
            "battery room is not entered until the gas detectors have shown less than 10 percent of the lower "
            "explosive limit for four hours, even if no smoke can be seen.",
        ),
    ],
    [
        ("heading", "4 Man overboard"),
        (
            "text",
            "Shout, throw the nearest lifebuoy, point at the person and do not look away. The officer of the watch "
            "presses the MOB button, which stores the position, sounds three long blasts and turns the ship with a "
            "Williamson turn.",
        ),
        (
            "text",
            "The rescue boat is launched within five minutes in waves of up to 2.5 metres. In higher waves the ship is "
            "brought upwind of the person and the recovery net is used. A person who was in water colder than 15 "
            "degrees is lifted lying flat, because lifting upright can stop the heart.",
        ),
        ("heading", "5 Abandoning ship"),
        (
            "text",
            "The signal is seven short blasts followed by one long blast. The master alone gives the order. Muster "
            "stations A and B are forward, C and D aft. The marine evacuation system of MV Guillemot takes 420 people "
            "down in 17 minutes and 40 seconds, as timed in the trial of 9 May 2024.",
        ),
    ],
    [
        ("heading", "6 Dangerous goods"),
        (
            "text",
            "Petrol is carried in approved cans of at most 10 litres, two cans for each vehicle, on the open car deck. "
            "Gas bottles are carried upright, lashed, with the valve closed, no more than three for each vehicle. "
            "Explosives are carried on the freight sailing on Tuesdays, without passengers.",
        ),
        ("heading", "7 Reporting"),
        (
            "text",
            "Every accident and every near miss is reported on form S-4 within 24 hours. The designated person reads "
            "each report within three working days and answers in writing. Reports are never used for disciplinary "
            "action unless someone acted with intent or under the influence of alcohol or drugs. In 2025 the crews "
            "sent 143 reports, of which 118 were near misses.",
        ),
    ],
]

REPORT = [
    ("Title", "Incident report 2025-17: MV Fulmar touches bottom off Tern Rock"),
    (
        "Normal",
        "Written by Captain Anneke Brandt, designated person ashore, on 2 December 2025. Classification: serious, "
        "nobody injured.",
    ),
    ("Heading 1", "What happened"),
    (
        "Normal",
        "On Friday 14 November 2025 at 18:52, MV Fulmar touched bottom 140 metres west of the Tern Rock light, on the "
        "way from Orra to Port Ansel with 83 passengers and 19 cars. Her speed was 9 knots. She came free by her own "
        "engines after four minutes and berthed at Port Ansel at 19:31.",
    ),
    (
        "Normal",
        "Divers found scratches along 11 metres of the port bilge keel and a dent of 6 centimetres in way of ballast "
        "tank 4. There was no pollution. The ship was out of service for nine days; repairs at Vestvik Verft cost "
        "212,000 EUR.",
    ),
    ("Heading 1", "Why"),
    (
        "Normal",
        "The light on Tern Rock had failed at 17:20. The coast guard sent the warning at 17:48, but the bridge printer "
        "was out of paper and the message was not read. The mate steered by the radar, which had been set to a range "
        "of six miles; at that range the rock could not be told from the clutter of the waves.",
    ),
    ("Normal", "The tide was 40 centimetres lower than predicted, after three days of high pressure."),
    ("Heading 1", "What changes"),
    (
        "List Bullet",
        "From 1 January 2026 navigational warnings are shown on the chart display and have to be acknowledged.",
    ),
    ("List Bullet", "Between Tern Rock and the harbour the radar is set to a range of 1.5 miles."),
    (
        "List Bullet",
        "At night the passage west of Tern Rock is closed; ships pass east of it, which takes seven minutes more.",
    ),
    ("List Bullet", "Two lookouts stand on the bridge wing from the Tern Rock light to the quay."),
    ("Heading 1", "Costs"),
]
COSTS = [
    ("Item", "EUR"),
    ("Repairs", "212,000"),
    ("Charter of a replacement vessel", "96,500"),
    ("Refunds to passengers", "18,340"),
    ("Total", "326,840"),
]


def main() -> None:
    """Write both files next to the other documents."""
    _write_manual(HERE / "safety-manual.pdf")
    _write_report(HERE / "incident-2025-11-14.docx")


def _write_manual(path: Path) -> None:
    pdf = pdfium.PdfDocument.new()
    fonts = {name: pdfium_c.FPDFText_LoadStandardFont(pdf, name.encode()) for name, _ in FONTS.values()}
    for number, blocks in enumerate(MANUAL, start=1):
        page = pdf.new_page(*A4)
        y = A4[1] - MARGIN
        for style, text in blocks:
            name, size = FONTS[style]
            for line in textwrap.wrap(text, LINE_CHARACTERS):
                y -= size * 1.4
                _place(pdf, page, fonts[name], size, (MARGIN, y), line)
            y -= size * 0.8
        _place(pdf, page, fonts["Helvetica"], 9, (A4[0] / 2, MARGIN / 2), str(number))
        page.gen_content()
    pdf.save(path)


def _place(
    pdf: pdfium.PdfDocument, page: pdfium.PdfPage, font: object, size: float, at: tuple[float, float], line: str
) -> None:
    piece = pdfium_c.FPDFPageObj_CreateTextObj(pdf, font, size)
    text = (line + "\0").encode("utf-16-le")
    pdfium_c.FPDFText_SetText(piece, cast(text, POINTER(c_ushort)))
    pdfium_c.FPDFPageObj_Transform(piece, 1, 0, 0, 1, *at)
    pdfium_c.FPDFPage_InsertObject(page, piece)


def _write_report(path: Path) -> None:
    report = Document()
    report.core_properties.title = "Incident report 2025-17"
    report.core_properties.author = "Skerry Line"
    report.core_properties.created = report.core_properties.modified = datetime(2025, 12, 2, 9, 0, tzinfo=UTC)
    for style, text in REPORT:
        report.add_paragraph(text, style=style)
    table = report.add_table(rows=0, cols=2)
    for cells in COSTS:
        for cell, text in zip(table.add_row().cells, cells, strict=True):
            cell.text = text
    report.save(path)


if __name__ == "__main__":
    main()
