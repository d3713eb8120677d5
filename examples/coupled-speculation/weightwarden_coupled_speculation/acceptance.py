"""Acceptance that is coupled to the seeded draw, in the place of the rejection sampling of vLLM's V2 model runner.

The noise of a position is a function of seed, position and token. So the rows of a step are drawn as rows without
drafts would be. A drafted token is accepted if it is the draw of its position, and the first other draw is emitted in
its place. The tokens are those that the seed draws without speculation, whatever is drafted.
"""

import torch
from torch import Tensor
from vllm.v1.worker.gpu.sample.gumbel import gumbel_sample


def coupled_rejection_sample(
    target_logits: Tensor,
    draft_logits: Tensor | None,
    draft_sampled: Tensor,
    cu_num_logits: Tensor,
    pos: Tensor,
    idx_mapping: Tensor,
    expanded_idx_mapping: Tensor,
    expanded_local_pos: Tensor,
    temperature: Tensor,
    seed: Tensor,
    num_speculative_steps: int,
    synthetic_conditional_rates: Tensor | None = None,
    use_fp64: bool = False,
    use_block_verification: bool = False,
    contexts: Tensor | None = None,
    watermarking: Tensor | None = None,
    watermarking_skip_mask: Tensor | None = None,
    watermark_key: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Tokens [requests, K + 1], int64, and the number [requests], int32, of those that are emitted.

    The arguments are those of vLLM's `rejection_sample`. The probabilities of drafts have no part in the rule.

    Args:
        target_logits: processed logits [rows, V]: a request has a row for each drafted token and one more.
        draft_sampled: input tokens [rows]: a row's draft is the input token of the next row. -1 is none.
        cu_num_logits: first row of each request, and the number of rows [requests + 1].
        pos: position [rows] of the last token that the row's logits follow.
        expanded_idx_mapping: place [rows] of the row's request in `temperature` and `seed`.
        num_speculative_steps: K, largest number of drafted tokens a request.
        use_fp64: whether noise is drawn in float64.

    Raises:
        ValueError: an argument belongs to another rule of acceptance, or to watermarks.
    """
    if synthetic_conditional_rates is not None or use_block_verification or contexts is not None:
        raise ValueError("coupled speculation has no synthetic rates, no block verification and no watermarks")
    drawn_n = gumbel_sample(
        target_logits,
        expanded_idx_mapping,
        temperature,
        seed,
        pos,
        apply_temperature=False,
        is_drafting=False,
        use_fp64=use_fp64,
    )
    return accepted(drawn_n, draft_sampled, cu_num_logits, num_speculative_steps)


def accepted(drawn_n: Tensor, input_n: Tensor, first_row_r: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Tokens [requests, steps + 1] and how many of them are emitted [requests], from the draws of all rows.

    Nothing waits for the device. Tokens beyond the emitted ones have no meaning.

    Args:
        drawn_n: the seeded draw of each row [rows], int64.
        input_n: input token of each row [rows].
        first_row_r: first row of each request, and the number of rows [requests + 1].
        steps: largest number of drafted tokens a request.
    """
    first_r = first_row_r[:-1].long()
    drafts_r = first_row_r[1:].long() - first_r - 1
    step_k = torch.arange(steps + 1, device=drawn_n.device)
    row_rk = (first_r[:, None] + step_k).clamp(max=drawn_n.shape[0] - 1)
    drawn_rk = drawn_n[row_rk]
    is_draft_rk = step_k[:-1] < drafts_r[:, None]
    hit_rk = is_draft_rk & (input_n[row_rk[:, 1:]] == drawn_rk[:, :-1])
    accepted_r = hit_rk.int().cumprod(dim=1).sum(dim=1)
    return drawn_rk, (accepted_r + 1).to(torch.int32)
