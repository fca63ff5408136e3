"""Memorable random names for runs that a client leaves unnamed, such as `amber-otter-417`."""

from __future__ import annotations

import secrets

ADJECTIVES = (
    "amber brave bright brisk calm clear clever copper crisp curious daring eager early fair fleet "
    "gentle glad golden grand happy hardy honest humble jolly keen kind lively lucid lucky mellow "
    "merry mild modest nimble noble patient placid plucky polite prompt proud quick quiet rapid "
    "ready robust rustic serene silent silver simple smooth snug solid spry steady stout sunny "
    "swift tender tidy tranquil trusty upbeat vivid warm wise witty young zesty"
)
NOUNS = (
    "ant badger bear beaver bee bison bream buck carp cat colt cod crab crane crow deer dolphin "
    "dove duck eagle elk falcon finch fish fox frog goat goose grouse gull hare hawk hen heron hog "
    "horse hound jay kite koi lamb lark lion loon lynx mare mink mole moose moth mouse newt otter "
    "owl ox panda perch pig pony quail rabbit ram raven robin seal shark sheep shrew skunk sloth "
    "snail sparrow squid stag stork swan tern toad trout turtle vole wasp whale wolf wren yak"
)
# With the words about six million names: of a thousand unnamed runs two have one name with a
# probability of less than a tenth. That does no harm: runs are told apart by their ids.
NUMBERS = 1000


def random_name() -> str:
    """Return a name that a person can remember and read aloud."""
    adjective, noun = (secrets.choice(words.split()) for words in (ADJECTIVES, NOUNS))
    return f"{adjective}-{noun}-{secrets.randbelow(NUMBERS)}"
