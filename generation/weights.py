"""The weights of `evidence.py` and the threshold below which a question is declined; how they were made."""

SENTENCE = {
    "cosine": 5.0,
    "coverage": 3.5,
    "near": 1.0,
    "rank": 0.5,
    "chunk": 1.0,
    "typed": 0.8,
    "novel": 0.5,
    "short": -0.5,
    "intercept": -6.0,
}

QUESTION = {
    "best": 1.5,
    "cosine": 1.5,
    "coverage": 1.0,
    "covered": 1.5,
    "names": 0.7,
    "numbers": 0.7,
    "typed": 0.5,
    "margin": 0.5,
    "intercept": -4.0,
}

THRESHOLD = 0.35
