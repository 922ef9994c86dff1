"""The weights of `evidence.py` and the threshold below which a question is declined; how they were made.

Printed by `python -m evals.fit_evidence squad-dev-v2.0.json`, with the shipped all-MiniLM-L6-v2, on 14 articles of
SQuAD v2.0 dev: 2,360 answerable questions, 2,346 look-alikes and 1,177 of articles that were not indexed. Fitted on
half of the articles and judged on the other half, and the reverse: gold in the best sentence .851 and .786, in the
best two .936 and .886, in three .965 and .910; AUROC against look-alikes .755 and .693, against foreign questions .989
and .991.
"""

SENTENCE = {
    "cosine": 5.063,
    "coverage": 4.854,
    "near": 3.095,
    "rank": 1.823,
    "chunk": 3.388,
    "typed": 1.477,
    "novel": 0.224,
    "intercept": -11.69,
}

QUESTION = {
    "cosine": 5.12,
    "coverage": 2.676,
    "covered": -1.244,
    "names": 0.92,
    "numbers": 1.492,
    "negation": -1.5,
    "intercept": -6.367,
}

THRESHOLD = 0.25
"""The highest step of 0.05 that keeps nine of ten answerable questions. It declines a quarter of the look-alikes, which
share the words of a paragraph but ask something else, and 99 of 100 questions about something else altogether."""
