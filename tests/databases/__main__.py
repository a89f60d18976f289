from __future__ import annotations

import sys

from tests.databases import SERVED, NoServer


def main() -> None:
    missing = False
    for name in sys.argv[1:] or SERVED:
        kind = SERVED[name]
        try:
            with kind.server() as url:
                print(f"{kind.TITLE} {kind.version(url)} at {url}")
        except NoServer as reason:
            missing = True
            print(f"no {kind.TITLE}: {reason}", file=sys.stderr)
    sys.exit(missing)


if __name__ == "__main__":
    main()
