#!/usr/bin/env python3
"""Checks the simulator with pyvmomi, an independent client, on both models.

usage: probe.py SIMULATOR        (needs: pip install pyvmomi)
"""
import sys

import probe_trouble  # noqa: F401, adds its checks
from probe_checks import CHECKS
from probe_site import Site


def main():
    failures = 0
    for model in ("vCenter", "ESXi"):
        passed = 0
        site = Site(sys.argv[1], model)
        try:
            for check in CHECKS:
                try:
                    figures = check(site)
                    passed += 1
                    print(f"{model}: ok   {check.__name__} {figures or ''}".rstrip())
                except Exception as error:  # every failure is reported, then the next check runs
                    failures += 1
                    where = error.__traceback__
                    while where.tb_next:
                        where = where.tb_next
                    print(f"{model}: FAIL {check.__name__}: {type(error).__name__} {str(error)[:300]}"
                          f" ({where.tb_frame.f_code.co_name}:{where.tb_lineno})")
        finally:
            site.close()
        print(f"{model}: {passed} of {len(CHECKS)} checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
