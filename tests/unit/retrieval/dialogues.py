"""Conversations about a ferry line's handbook, written by hand: what a follow-up means, and what needs no completion.

The passages come in families that answer the same question of different things, so that a follow-up without its
thing finds the wrong one as soon as the right one.
"""

from dataclasses import dataclass

from retrieval.records import Turn

PASSAGES = {
    "dog-price": ("Dogs", "A ticket for a dog costs 8 euros on every crossing."),
    "dog-where": ("Dogs", "Dogs stay on the aft deck or in the pet lounge; they are kept on a lead."),
    "dog-papers": ("Dogs", "The owner of a dog shows its vaccination certificate at the gate."),
    "bike-price": ("Bicycles", "A ticket for a bicycle costs 5 euros; tandems pay 9 euros."),
    "bike-where": ("Bicycles", "Bicycles stand in the rack on the car deck, tied with a strap."),
    "bike-papers": ("Bicycles", "Nobody asks for documents of a bicycle, but electric ones need a label."),
    "car-price": ("Cars", "A ticket for a car up to five metres costs 38 euros, driver included."),
    "car-where": ("Cars", "Cars are parked on the car deck with the handbrake on; nobody stays in them."),
    "car-papers": ("Cars", "The driver of a car shows the registration document at check-in."),
    "fulmar-built": ("MV Fulmar", "MV Fulmar was built in 2008 by the yard Vestvik Verft."),
    "fulmar-size": ("MV Fulmar", "MV Fulmar carries 280 passengers and 38 cars."),
    "fulmar-engine": ("MV Fulmar", "The engines of MV Fulmar burn marine gas oil and give 5,200 kW."),
    "fulmar-captain": ("MV Fulmar", "The master of MV Fulmar is Ingrid Solheim."),
    "guillemot-built": ("MV Guillemot", "MV Guillemot was built in 2019 by Harland and Sons."),
    "guillemot-size": ("MV Guillemot", "MV Guillemot carries 420 passengers and 64 cars."),
    "guillemot-engine": ("MV Guillemot", "The engines of MV Guillemot are electric; her batteries hold 4 MWh."),
    "guillemot-captain": ("MV Guillemot", "The master of MV Guillemot is Tomas Reyes."),
    "leave-days": ("Annual leave", "Employees have 27 days of paid annual leave in a calendar year."),
    "leave-carry": ("Annual leave", "Up to five days of annual leave can be carried over; they lapse on 31 March."),
    "leave-request": (
        "Annual leave",
        "Annual leave is requested in the staff portal and approved by the crew manager.",
    ),
    "sick-days": ("Sick leave", "Sick leave is paid for up to six weeks."),
    "sick-request": ("Sick leave", "Sick leave is reported by telephone before the shift; a doctor's note follows."),
    "sick-contract": ("Sick leave", "Contractors have no paid sick leave; their agency insures them."),
    "parental-days": ("Parental leave", "Parental leave lasts up to 40 weeks with reduced pay."),
    "parental-request": ("Parental leave", "Parental leave is requested in writing eight weeks ahead, at the office."),
    "pump-start": ("Bilge pump BP-40", "The bilge pump BP-40 starts by itself at 40 bar."),
    "pump-service": ("Bilge pump BP-40", "The bilge pump BP-40 is serviced every 500 hours; its seals are renewed."),
    "pump-fail": ("Bilge pump BP-40", "When the bilge pump BP-40 fails, close valve V3 and call the engineer."),
    "fire-start": ("Fire pump FP-12", "The fire pump FP-12 is started by hand on the bridge."),
    "fire-service": ("Fire pump FP-12", "The fire pump FP-12 is serviced each spring by the maker."),
    "fire-fail": ("Fire pump FP-12", "When the fire pump FP-12 fails, the ship returns to port."),
    "err-46": ("Error codes", "ERR-2046 means that the door sensor is dirty; wipe it."),
    "err-47": ("Error codes", "ERR-2047 means that the ramp is not locked; lower it again."),
    "berlin-layover": ("Berlin office", "The Berlin office opens at nine and closes at five."),
    "frankfurt-layover": ("Frankfurt office", "The Frankfurt office opens at eight and closes at four."),
    "berlin-phone": ("Berlin office", "The telephone number of the Berlin office ends with 330."),
    "frankfurt-phone": ("Frankfurt office", "The telephone number of the Frankfurt office ends with 214."),
    "berlin-head": ("Berlin office", "The Berlin office is led by Marta Kowal."),
    "frankfurt-head": ("Frankfurt office", "The Frankfurt office is led by Jonas Weber."),
    "sales-2023": ("Figures", "In 2023 net sales were 48 million euros."),
    "sales-2024": ("Figures", "In 2024 net sales were 53 million euros."),
    "staff-2023": ("Figures", "In 2023 the line had 410 employees."),
    "staff-2024": ("Figures", "In 2024 the line had 437 employees."),
    "lost-kept": ("Lost property", "Lost property is kept for 90 days at the terminal."),
    "lost-fee": ("Lost property", "Sending lost property home costs a fee of 12 euros."),
    "lost-after": ("Lost property", "Lost property that nobody claims is given to charity."),
    "refund-time": ("Refunds", "Refunds are paid within 14 days to the card that was used."),
    "refund-fee": ("Refunds", "A refund costs a fee of 6 euros unless the crossing was cancelled."),
    "refund-who": ("Refunds", "Refunds above 500 euros are approved by the finance desk."),
    "wifi-price": ("Wireless network", "The wireless network on board is free for an hour, then 3 euros."),
    "wifi-join": ("Wireless network", "To join the wireless network, scan the code on the ticket."),
    "winter-times": ("Timetable", "In winter the ferry leaves Vestvik at 7:30 and 16:00."),
    "summer-times": ("Timetable", "In summer the ferry leaves Vestvik at 6:00, 11:00 and 18:30."),
    "scrub-limit": ("s3:GetObject", "The role reader may call s3:GetObject on the archive of logs."),
    "scrub-acl": ("s3:GetObjectAcl", "Only auditors may call s3:GetObjectAcl on the archive of logs."),
}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What was said, what is asked now, and the passage that answers it."""

    said: tuple[str, ...]
    """By the user and, where it begins with '>', by the assistant."""
    query: str
    gold: str = ""

    @property
    def history(self) -> tuple[Turn, ...]:
        """As the planner takes it."""
        return tuple(Turn("assistant", text[1:]) if text[0] == ">" else Turn("user", text) for text in self.said)


FOLLOW_UPS = (
    # Pronouns
    Dialogue(("Tell me about MV Fulmar.",), "When was it built?", "fulmar-built"),
    Dialogue(("Tell me about MV Guillemot.",), "When was she built?", "guillemot-built"),
    Dialogue(
        ("Who built MV Guillemot?", ">Harland and Sons [1]."), "How many passengers does it carry?", "guillemot-size"
    ),
    Dialogue(("How many passengers does MV Fulmar carry?",), "Who is its master?", "fulmar-captain"),
    Dialogue(("What is the BP-40?",), "How often is it serviced?", "pump-service"),
    Dialogue(("How is the fire pump FP-12 started?",), "What happens when it fails?", "fire-fail"),
    Dialogue(("What happens when the bilge pump fails?",), "And how often is it serviced?", "pump-service"),
    Dialogue(("Are dogs allowed on board?",), "Where do they stay?", "dog-where"),
    Dialogue(("How do I take a bicycle on board?",), "Where do I put it?", "bike-where"),
    Dialogue(("Can I bring my car?",), "Where is it parked?", "car-where"),
    Dialogue(("How long is lost property kept?",), "What happens to it after that?", "lost-after"),
    Dialogue(("Tell me about parental leave", ">It lasts 40 weeks."), "How do I request it?", "parental-request"),
    Dialogue(("How long is sick leave paid?",), "How do I report that?", "sick-request"),
    Dialogue(("Is there a wireless network?",), "How do I join it?", "wifi-join"),
    Dialogue(("When does the Berlin office open?",), "Who leads it?", "berlin-head"),
    Dialogue(("Tell me about the Frankfurt office",), "What is its telephone number?", "frankfurt-phone"),
    # Ellipses
    Dialogue(("When does the Berlin office open?",), "And the Frankfurt office?", "frankfurt-layover"),
    Dialogue(("When does the Berlin office open?",), "what about Frankfurt?", "frankfurt-layover"),
    Dialogue(("Who leads the office in Frankfurt?",), "and in Berlin?", "berlin-head"),
    Dialogue(("How much is a ticket for a dog?",), "And for a bicycle?", "bike-price"),
    Dialogue(("How much is a ticket for a bicycle?",), "For a car?", "car-price"),
    Dialogue(("How many days of annual leave do I have?",), "And can they be carried over?", "leave-carry"),
    Dialogue(("What were net sales in 2023?",), "And in 2024?", "sales-2024"),
    Dialogue(("How many employees were there in 2024?",), "and in 2023?", "staff-2023"),
    Dialogue(("When does the ferry leave in winter?",), "In summer?", "summer-times"),
    Dialogue(("What does ERR-2046 mean?",), "And ERR-2047?", "err-47"),
    Dialogue(("Who may call s3:GetObject?",), "And s3:GetObjectAcl?", "scrub-acl"),
    Dialogue(("Do I get a refund?",), "How long?", "refund-time"),
    Dialogue(("How long do refunds take?",), "Is there a fee?", "refund-fee"),
    Dialogue(("How long is lost property kept?",), "the fee?", "lost-fee"),
    Dialogue(("Do employees have sick leave?",), "Contractors?", "sick-contract"),
    Dialogue(("What engine does MV Fulmar have?",), "what about the other one, MV Guillemot?", "guillemot-engine"),
    # Chains of them
    Dialogue(
        ("Tell me about MV Guillemot", "When was she built?", ">In 2019."), "Who is her master?", "guillemot-captain"
    ),
    Dialogue(("How much is a ticket for a dog?", "And for a bicycle?"), "Where do they stand?", "bike-where"),
    Dialogue(
        ("What is the FP-12?", ">A pump.", "How is it started?", ">By hand.", "thanks"),
        "Who services it?",
        "fire-service",
    ),
    Dialogue(("What were net sales in 2023?", "How many employees were there?"), "and in 2024?", "staff-2024"),
    # Lists in the answer
    Dialogue(
        ("Which ships are there?", ">There are two:\n1. MV Fulmar\n2. MV Guillemot"),
        "Who is the master of the second one?",
        "guillemot-captain",
    ),
    Dialogue(
        ("Which kinds of leave are there?", ">- annual leave\n- sick leave\n- parental leave"),
        "How do I request the last one?",
        "parental-request",
    ),
)

COMPLETE = tuple(
    Dialogue(("What is the bilge pump BP-40?", ">It starts at 40 bar."), query)
    for query in (
        "How long is lost property kept?",
        "How much is a ticket for a dog?",
        "annual leave",
        "notice period contractors",
        "What does ERR-2047 mean?",
        "ERR-2047",
        "s3:GetObject?",
        "s3:GetObject vs s3:GetObjectAcl",
        "If the fire pump fails, who repairs it?",
        "When an employee leaves, what happens to their laptop?",
        "Can passengers bring their dogs?",
        "What should a driver do when the ramp is not locked and it makes a noise?",
        "Is it possible to get a refund?",
        "How long does it take to cross to Vestvik?",
        "What does it cost to send lost property home?",
        "How do I contact IT?",
        "How do I reach the IT support?",
        "Who wrote the song 'Let It Be'?",
        'Which page says "that is all"?',
        "Is there a doctor on board?",
        "Are there any fees for refunds?",
        "How do I make sure that the valve is closed?",
        "Who is the person that signed the contract?",
        "What are the terms and conditions?",
        "Who approves refunds above 500 euros?",
        "Where are cars parked?",
        "Explain how refunds work",
        "And how long is the notice period for contractors?",
        "What are the pros and cons of electric engines?",
        "Which employees may carry over leave that they did not take?",
        "Do the engines of MV Fulmar burn oil?",
        "Does the ferry change its timetable in winter?",
        "Show me the safety manual",
        "MV Guillemot",
        "What is the one-day ticket?",
        "Is it true that dogs travel for free?",
        "Was ist der Fahrpreis für Hunde?",
        "¿Cuánto cuesta un perro?",
        "犬の料金はいくらですか？",
        "What time is it in Vestvik when the ferry leaves?",
        "Can two masters share the same cabin?",
        "Which of the two ships has the larger car deck?",
        "How do I get to the terminal from the station?",
        "What is the first thing to do in a fire?",
        "",
        "???",
        "thanks!",
    )
)
