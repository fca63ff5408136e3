"""What an option of a multiple-choice question looks like in a text, for given letters."""

from __future__ import annotations

import re

from trainer.text.verifiers.alternatives import EITHER
from trainer.text.verifiers.rejections import AFTER, BUT, CLAUSE, NEGATION

WORD = r"A-Za-z0-9_À-ɏ"
LEADING = (
    r"(?:(?i:the|correct|right|best|final|answer|option|choice|letter|statement|clearly|therefore|"
    r"definitely|probably|most\s+likely|likely|is|be|to|la|le|die|der|das|el|het|lettre|letra|буква|вариант|选项?|項|项|是|为|為|は)(?![A-Za-z])\W*)*"
)
# Between two options: neither of them is chosen.
JOIN = (
    rf"(?:[,/&+;|、~–→>]|(?<![^\W\d_])(?i:{EITHER}|maybe|perhaps|possibly|then|as\s+well\s+as|plus|with|"
    r"not\s+only)(?![^\W\d_])|或者?|和|以及|及|与|と|または|か|또는|이나|와|과)"
)


class OptionPatterns:
    """Patterns of options. The group `letter` of a match is the letter, `lower` a small one."""

    def __init__(self, letters: str) -> None:
        upper, lower = letters, letters.lower()
        # Not `B+`, `B.C.`, `C = 5`, `C(5, 2)`, `B minus`.
        end = (
            rf"(?![{WORD}+#]|['’-]\w|\.[A-Za-z]\b|\s*[=^]|\(\d"
            r"|\s+(?:minus|plus|flat|sharp|major|minor)\b)"
        )
        self.option = re.compile(
            rf"(?<![{WORD}°^])(?<![A-Za-z]['’])(?<![{WORD}]-)(?<![A-Z]\.)"
            rf"(?P<letter>[{upper}]){end}"
        )
        # At the start of a region a lower-case letter is marked, if it stands alone or as `b)`.
        self.start = re.compile(
            rf"\W*{LEADING}(?:(?P<letter>[{upper}]){end}|(?P<lower>[{lower}])(?=\W*$|[).:]))"
        )
        self.bracketed = re.compile(rf"[(\[](?P<letter>[{upper}{lower}])[)\]]")
        self.line = re.compile(rf"\W*(?i:option\s+)?(?P<letter>[{upper}])\W*")
        single = rf"[(\[]?[{upper}](?![{WORD}])[)\]]?"
        # After an option: another one, `B C`, `B? C?`, `B or none`, `B or even C`.
        self.more = re.compile(
            rf"[)\]]*\s+[(\[]?[{upper}][)\]]?(?=\W*$|\s+[(\[]?[{upper}])|\?\s*{single}"
            r"|[)\]\s]*\b(?i:or|and)\s+(?i:none|neither|another|other|something|else)\b"
            rf"|[)\]\s.*?!\"]*(?:{JOIN}\s*)+"
            rf"(?:(?i:option|choice|maybe|perhaps|possibly|even)\s+|选项)?[(\[]?[{upper}]"
            rf"(?=[)\]]*\s*(?:$|[.,;:)\]、。?!/]|(?:{JOIN})|[^\x00-\x7f]"
            r"|(?:is|are|could|might|as|because)\b))"
        )
        self.anywhere = re.compile(
            rf"\b(?:or|either|maybe|perhaps|possibly)\s+(?:option\s+|choice\s+|even\s+)?[(\[]?"
            rf"[{upper}](?=[)\]]|\W*$|[.,;]|\s+(?:or|and|is|could|might)\b)"
        )
        # `not the option B`, `neither A nor B`, `A and B are wrong`.
        between = rf"(?:(?!(?:{CLAUSE}|{BUT})\b)[^\W\d_]{{2,20}}\s+){{0,2}}?"
        self.rejected = re.compile(
            rf"(?i:{NEGATION})\s*{between}{single}(?:\s*{JOIN}\s*{single}){{0,25}}"
            rf"|(?<![{WORD}]){single}(?:\s*(?:{JOIN}\s*){{1,3}}{single}){{0,25}}(?i:{AFTER.pattern})"
        )
