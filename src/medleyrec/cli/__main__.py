"""`python -m medleyrec.cli`."""

from medleyrec.cli import main

main()
