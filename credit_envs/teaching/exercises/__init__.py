"""The questions of the course's notebooks: ``nNN_NAME.py`` holds those of notebook NN as a tuple ``QUESTIONS``."""
