"""The theory of contrastive losses as programs: models, claims that can fail, figures.

Importing this package needs torch alone; solvers and figures want ``pip install 'couplings[theory]'``.
"""
