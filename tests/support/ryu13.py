"""Ryu's own OpenFlow 1.3, as an independent reader of what we write.

Its import warns of the age of what it imports in turn; the suite takes warnings for
errors, and these are not ours.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ryu.ofproto import ofproto_parser, ofproto_v1_3, ofproto_v1_3_parser
    from ryu.ofproto.ofproto_protocol import ProtocolDesc

__all__ = ["ProtocolDesc", "ofproto_parser", "ofproto_v1_3", "ofproto_v1_3_parser"]
