"""The grammar of Chat: what users write, and the phrases of which replies are made."""

from __future__ import annotations

SLOTS: dict[str, tuple[str, ...]] = {
    "opening": (
        "Hello!",
        "Hi there!",
        "Good day.",
        "Hey,",
        "Dear friend,",
        "Welcome back!",
        "Greetings.",
        "Thank you.",
    ),
    "empathy": (
        "I am sorry about that.",
        "That sounds annoying.",
        "Good question.",
        "I see.",
        "No worries.",
        "We hear this often.",
        "I understand.",
        "Let us look at it.",
    ),
    "advice": (
        "Please restart it.",
        "Try another cable.",
        "Read the manual.",
        "Send us a picture.",
        "Wait for a day.",
        "Install the update.",
        "Ask your neighbour.",
        "Reset the password.",
    ),
    "detail": (
        "It takes a minute.",
        "Nothing gets lost.",
        "This is free of charge.",
        "Most people forget it.",
        "Step two is optional.",
        "You may skip it.",
        "It cannot go wrong.",
        "Terms apply.",
    ),
    "closing": (
        "Kind regards.",
        "Cheers!",
        "Write again any time.",
        "Good luck.",
        "Bye.",
        "Take care.",
        "Yours.",
        "Done.",
    ),
}
"""Phrases by slot, in the order in which a reply says them."""

BY_LENGTH = {
    2: ("advice", "closing"),
    3: ("opening", "advice", "closing"),
    4: ("opening", "empathy", "advice", "closing"),
    5: ("opening", "empathy", "advice", "detail", "closing"),
}
"""Slots of a reply by its length."""

TOPICS = ("my radio", "my printer", "my phone", "my heating", "my account", "my camera", "my oven", "my bicycle lamp")
COMPLAINTS = ("does not start", "makes a noise", "stopped working", "is too slow", "shows an error", "got stuck")
REACTIONS = ("That did not help at all.", "Thanks, that helped!")
"""What the user writes next: annoyed, pleased."""
