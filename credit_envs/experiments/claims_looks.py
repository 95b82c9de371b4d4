"""Claims about looking: which steps depend on the image."""

from __future__ import annotations

from credit_envs.experiments.claims_places import ROOMS, TASKS, over
from credit_envs.experiments.comparisons import Test
from credit_envs.experiments.ledger import Claim

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "vppo",
        "Training the visually dependent steps only, and trusting rollouts that looked, improves the gradient.",
        "Huang et al. 2025, arXiv 2510.09285",
        "VPPO worth more than GRPO; its mask more than a random one; shaping more than none",
        "worth less",
        (
            Test("dr_grpo+vppo"),
            Test("dr_grpo+vppo_mask", "dr_grpo+random_mask"),
            Test("dr_grpo+vppo_shaping"),
        ),
        over(
            {**{name: TASKS[name] for name in ("Charts", "Gallery")}, "KeyRooms, cue": f"{ROOMS}&cue=0.5"},
            ("dr_grpo+vppo", "dr_grpo+vppo_mask", "dr_grpo+random_mask", "dr_grpo+vppo_shaping"),
        ),
    ),
    Claim(
        "vppo_share",
        "Keeping about 40 % of the steps is best.",
        "launch scripts of Huang et al. 2025",
        "0.4 worth more than 0.2, 0.8 and all",
        "another share worth more",
        (
            Test("dr_grpo+vppo_mask(share=0.4)", "dr_grpo+vppo_mask(share=0.2)"),
            Test("dr_grpo+vppo_mask(share=0.4)", "dr_grpo+vppo_mask(share=0.8)"),
            Test("dr_grpo+vppo_mask(share=0.4)"),
        ),
        over(
            {**{name: TASKS[name] for name in ("Charts", "Gallery")}, "KeyRooms, cue": f"{ROOMS}&cue=0.5"},
            tuple(f"dr_grpo+vppo_mask(share={share})" for share in (0.2, 0.4, 0.8)),
        ),
    ),
    Claim(
        "at_rl",
        "Training only the steps that attend to the image keeps the gain; training only the others loses it.",
        "Jiao et al. 2026, arXiv 2602.11455",
        "at_rl at least as good as GRPO, its complement worse",
        "the complement as good",
        (
            Test("dr_grpo+at_rl"),
            Test("dr_grpo+at_rl_complement", expect="less"),
            Test("dr_grpo+at_rl", "dr_grpo+at_rl_complement"),
        ),
        over(
            {**{name: TASKS[name] for name in ("Charts", "Gallery")}, "KeyRooms, cue": f"{ROOMS}&cue=0.5"},
            ("dr_grpo+at_rl", "dr_grpo+at_rl_complement"),
        ),
    ),
)
