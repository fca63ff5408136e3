"""The built-in pair's tokenizer: a token per printable ASCII character and stated confidence.

The stated confidences are ` conf:0.0` … ` conf:1.0`, so that a level is one token.

It is a plain `PreTrainedTokenizerFast`; load it as that class (`AutoTokenizer` may put another in
its place because of the model's type).
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
CHARACTERS = ("\n", *map(chr, range(32, 127)))
CONFIDENCES = tuple(f" conf:{tenths / 10:.1f}" for tenths in range(11))
VOCABULARY = (PAD, EOS, UNKNOWN, *CHARACTERS, *CONFIDENCES)


def build() -> PreTrainedTokenizerFast:
    """A tokenizer whose ids are positions in VOCABULARY.

    Text of printable ASCII is decoded as it was.
    """
    core = Tokenizer(
        models.WordLevel(
            {token: index for index, token in enumerate(VOCABULARY)}, unk_token=UNKNOWN
        )
    )
    core.pre_tokenizer = pre_tokenizers.Split(
        # The confidences come first: the second branch would match their first character.
        Regex(r" conf:(?:0\.[0-9]|1\.0)|[\s\S]"),
        behavior="isolated",
    )
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
