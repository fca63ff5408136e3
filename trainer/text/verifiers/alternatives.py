"""Words that join alternatives, of the languages whose marks are known."""

EITHER = (
    r"(?:or|and|to|through|until|versus|vs\.?|out of|of|oder|und|bis|ou|et|o|y|e|lub|veya|atau|"
    r"hoặc|или|и|أو|या|หรือ|或者?|和|及|到|至|または|か|또는|이나)"
)
