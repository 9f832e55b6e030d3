"""Training the last blocks of an encoder: its features made anew in every step."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.speech.encoder import SpeechEncoder
from deeptalk.speech.frames import length_mask
from deeptalk.speech.network import NetworkEncoder
from deeptalk.speech.stack import NETWORKS


class TunedFeatures(nn.Module):
    """Features of windows of speech by a stack, one network of which is trained.

    That network hears the whole of each clip, as it does when features are computed once and kept: with its weights
    untouched it gives those. The columns of the stack's other encoders are taken as they are in the batch.
    """

    def __init__(self, encoder: SpeechEncoder, trained_blocks: int, reads: str = "") -> None:
        """Set the last blocks free: of the encoder that `reads` names, or of the only network. Raises UserError."""
        super().__init__()
        networks = [part for part in encoder.parts() if isinstance(part, NetworkEncoder) and reads in ("", part.name)]
        if len(networks) != 1:
            found = " and ".join(network.name for network in networks) or "none"
            raise UserError(
                f"trained_blocks is {trained_blocks}, of one network; the speech encoder '{encoder.name}' has {found}"
                f"{f' that {reads!r} names' if reads else ''}. Name one of {', '.join(NETWORKS)} in speech=, or the "
                "one to train in reads=."
            )
        self.network = networks[0]
        self.first_column = encoder.columns()[self.network.name].start
        self.network.train_last_blocks(trained_blocks)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch frame feature"]:
        """Return the features of the windows, zero beyond their ends.

        The batch has waveform (batch, sample), num_samples, first_frame and lengths of the windows in frames (batch,),
        and the kept features (batch, frame, feature).
        """
        kept, lengths = batch["features"], batch["lengths"]
        heard, frames = self.network(batch["waveform"], batch["num_samples"])
        places = batch["first_frame"][:, None] + torch.arange(kept.shape[1], device=kept.device)
        places = torch.minimum(places, frames[:, None] - 1)[..., None].expand(-1, -1, heard.shape[-1])
        windows = heard.gather(1, places) * length_mask(lengths, kept.shape[1])[..., None]
        first, stop = self.first_column, self.first_column + heard.shape[-1]
        return torch.cat([kept[..., :first], windows.to(kept.dtype), kept[..., stop:]], dim=-1)
