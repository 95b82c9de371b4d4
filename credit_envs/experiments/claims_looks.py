"""Claims about looking: which steps depend on the image."""

from __future__ import annotations

from credit_envs.experiments.claims_places import ROOMS, TASKS, over
from credit_envs.experiments.comparisons import Test
from credit_envs.experiments.contrasts import Contrast
from credit_envs.experiments.ledger import Claim
from credit_envs.experiments.trials import arms

_VPPO = "Huang et al. 2025, arXiv 2510.09285 (VPPO)"
_NOTHING_KNOWN = "credit/Charts-v0?bars=3&prior=0&values=3"
_MASKS = {
    "random mask": "chance",
    "mask by entropy": "entropy",
    "noise": "noise",
    "all black": "k3",
    "Jensen–Shannon": "jensen_shannon",
    "drop of the probability": "drop",
}
_MEASURED = arms(
    "dependence",
    {
        "facts are needed": "credit/Charts-v0?bars=3&values=3",
        "half is printed": "credit/Charts-v0?bars=3&printed=0.5&values=3",
        "facts are notes": "credit/Charts-v0?bars=3&paid=answer&values=3",
    },
    {"network": {}},
    budget=60_000,
    full={"budget": 150_000},
)
"""What the claims on measures and on corruption share: trained networks, and what each measure finds."""

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
    Claim(
        "visual_measures",
        "Which steps need the picture is best told by how far the policy moves without it, in KL divergence.",
        f"{_VPPO}, appendix G: after training, KL 57.5 %, Jensen–Shannon 56.9 %, drop of the probability 50.3 %",
        "the quarter of the steps with the largest sampled KL (k3) holds more of the steps that need the picture than chance, "
        "entropy, the plain log-ratio or the drop of the probability do; the exact KL more than its sample, the reverse KL, "
        "Jensen–Shannon and total variation",
        "it holds fewer",
        (
            Contrast("recall_k3", "network", than="recall_chance"),
            Contrast("recall_k3", "network", than="recall_entropy"),
            Contrast("recall_k3", "network", than="recall_gap"),
            Contrast("recall_k3", "network", than="recall_drop"),
            Contrast("recall_kl", "network", than="recall_k3"),
            Contrast("recall_kl", "network", than="recall_reverse_kl"),
            Contrast("recall_kl", "network", than="recall_jensen_shannon"),
            Contrast("recall_kl", "network", than="recall_total_variation"),
        ),
        _MEASURED,
    ),
    Claim(
        "visual_corruption",
        "Blackening half of the patches is the best way to take the picture away.",
        f"{_VPPO}, appendix F: after training, patches 57.5 %, Gaussian noise 56.5 %, blur and all grey 56.4 %",
        "with half of the patches black, the quarter of the steps with the largest sampled KL holds more of the steps that "
        "need the picture than with all black, or with Gaussian noise (deviation 189 of 255, cut to the range)",
        "it holds fewer than with all black or with noise",
        (
            Contrast("recall_patches", "network", than="recall_k3"),
            Contrast("recall_patches", "network", than="recall_noise"),
        ),
        _MEASURED,
    ),
    Claim(
        "vppo_training",
        "A network that can see learns faster where only the steps that depend on the picture are trained.",
        f"{_VPPO}: after training, DAPO 55.0 %, random mask 54.8, mask by entropy 56.0, VPPO's mask 57.1; whole VPPO 57.5, "
        "with noise 56.5, all grey 56.4, Jensen–Shannon 56.9, drop of the probability 50.3",
        "VPPO's mask (40 % by k3, half of the patches black) gives a higher curve than none, a random one and one by entropy; "
        "than k3 with noise or all black, and than Jensen–Shannon or the drop of the probability with all black",
        "it gives a lower curve",
        tuple(Contrast("speed", "VPPO's mask", second) for second in ("no mask", *_MASKS)),
        arms(
            "dependence",
            {"facts are needed": "credit/Charts-v0?bars=3&values=3", "last year tells nothing": _NOTHING_KNOWN},
            {
                "no mask": {},
                "VPPO's mask": {"keep": "patches"},
                **{mask: {"keep": score} for mask, score in _MASKS.items()},
            },
            budget=30_000,
        ),
    ),
    Claim(
        "text_in_image",
        "VPPO's measure takes words copied from the picture for perception.",
        f"a doubt about {_VPPO}: masking the picture takes its words away, too",
        "where a height is a number in the picture, in the place of a bar, steps that copy it are kept more often than where "
        "it stands in the text, and more often than by chance; steps that read a bar stand out from them less than from copies "
        "of the text, and in less than 65 % of a rollout's pairs, also with half of the patches black and with the exact KL",
        "copies from the picture are kept no more often, or bars stand out from them as from copies of the text",
        (
            Contrast("copied_k3", "in the picture", "in the text"),
            Contrast("copied_k3", "in the picture", than="copied_chance"),
            Contrast("apart_k3", "in the text", value=0.5),
            Contrast("apart_k3", "in the picture", "in the text", expect="less"),
            Contrast("apart_k3", "in the picture", value=0.65, expect="less"),
            Contrast("apart_patches", "in the picture", value=0.65, expect="less"),
            Contrast("apart_kl", "in the picture", value=0.65, expect="less"),
        ),
        arms(
            "dependence",
            {
                "last year tells half": "credit/Charts-v0?bars=3&printed=0.5&values=3",
                "last year tells nothing": "credit/Charts-v0?bars=3&printed=0.5&prior=0&values=3",
                "another question": "credit/Charts-v0?bars=3&instance=1&printed=0.5&values=3",
            },
            {"in the text": {"printed_in": "text"}, "in the picture": {"printed_in": "picture"}},
            budget=60_000,
            full={"budget": 150_000},
        ),
    ),
)
