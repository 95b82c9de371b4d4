#!/usr/bin/env bash
# Enters reference methods by the commands that anyone types, and verifies them:  leaderboard/enter.sh SUITE [METHOD ...]
# Entries of other suites than core-v0 have its name behind theirs. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
suite="$1"; shift
wanted=" ${*:-} "
ending=""; [ "$suite" = core-v0 ] || ending="-$suite"
season=(); [ "$suite" = board-v0 ] && season=(--season leaderboard/season-0.json)
run="${CREDIT_ENVS:-.venv/bin/credit-envs}"

while IFS='|' read -r method track paper about; do
  [ "$wanted" = "  " ] || [[ "$wanted" == *" $method "* ]] || continue
  folder="leaderboard/entries/$method$ending"
  function=estimate; [ "$track" = estimator ] || function=train
  if [ ! -f "$folder/manifest.json" ]; then
    $run submit "leaderboard/methods/$method.py:$function" --track "$track" --suite "$suite" --name "$method$ending" \
      --authors credit_envs --paper "$paper" --description "$about" --output leaderboard/entries </dev/null
  fi
  [ -f "$folder.verified.json" ] || $run verify "$folder" --keep "${season[@]}" </dev/null
done <<'TABLE'
grpo|estimator|Shao et al. 2024, arXiv 2402.03300|A rollout's return against its group's, divided by the deviation.
gigpo|estimator|Feng et al. 2025, arXiv 2505.10978|GRPO, and beside it groups of the steps that were taken where rollouts met.
tree_grpo|estimator|Ji et al. 2025, arXiv 2509.21240|Chains forked at random steps; a leaf's return against its tree and against the prompt.
vineppo|estimator|Kazemnejad et al. 2024, arXiv 2410.01679|The value of every visited state by nine fresh continuations.
mcts_prm|estimator|after Kocsis and Szepesvári 2006, and Ng et al. 1999|A reward model of tree search's action values, paid as a potential.
agent_prm|estimator|Choudhury 2025, arXiv 2502.10325|A model of the outcome pays every step; then RLOO.
anchor_graph|estimator|this project|Values on the graph of the observations that a group visited, backed up over all of them.
anchor_graph_mix|estimator|this project|The anchor graph at several time resolutions, mixed by what other groups say of each.
returns|estimator|Williams 1992|The return of the rollout for every step, and no baseline.
rloo|estimator|Ahmadian et al. 2024, arXiv 2402.14740|A rollout's return less the mean of the others in its group.
reinforce_pp|estimator|Hu et al. 2025, arXiv 2501.03262|Reward-to-go, whitened over the batch.
hgpo|estimator|He et al. 2026, arXiv 2602.22817|Groups of steps by how much of their history they share, weighted over depths.
ppo_learned|estimator|Schulman et al. 2016, arXiv 1506.02438|Generalised advantages with a critic fitted on fresh groups.
q_learning|learner|Watkins 1989|Tabular Q-learning with optimistic zeros and ε-greedy play.
policy_gradient_grpo|learner|Shao et al. 2024, arXiv 2402.03300|A tabular softmax policy, trained with GRPO's credit.
policy_gradient_gigpo|learner|Feng et al. 2025, arXiv 2505.10978|A tabular softmax policy, trained with GiGPO's credit.
greedy|learner|this project|Greedy for the mean immediate reward under uniform play.
uniform|learner|this project|Uniform play over admissible actions.
TABLE
