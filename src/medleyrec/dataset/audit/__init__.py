"""What is odd about a log before any model sees it, in sentences with numbers.

Each file measures one thing on the memory-mapped arrays, a block of users at a time, and returns `Finding`s.
"""

from medleyrec.dataset.audit.activity import activity_findings
from medleyrec.dataset.audit.content import content_findings
from medleyrec.dataset.audit.duplicates import given_away, picture_findings, text_findings
from medleyrec.dataset.audit.findings import Audit, Finding
from medleyrec.dataset.audit.leaks import leak_findings
from medleyrec.dataset.audit.losses import loss_findings
from medleyrec.dataset.audit.order import order_findings
from medleyrec.dataset.audit.pictures import Looks
from medleyrec.dataset.audit.sessions import session_findings

__all__ = [
    "Audit",
    "Finding",
    "Looks",
    "activity_findings",
    "content_findings",
    "given_away",
    "leak_findings",
    "loss_findings",
    "order_findings",
    "picture_findings",
    "session_findings",
    "text_findings",
]
