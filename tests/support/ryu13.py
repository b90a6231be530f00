"""Ryu's own OpenFlow 1.3, as an independent reader of what we write.

Its import warns of the age of what it imports in turn; the suite takes warnings for
errors, and these are not ours.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ryu.lib import type_desc
    from ryu.ofproto import (
        ofproto_parser,
        ofproto_v1_3,
        ofproto_v1_3_parser,
        oxm_fields,
    )
    from ryu.ofproto.ofproto_protocol import ProtocolDesc

__all__ = ["ProtocolDesc", "ofproto_parser", "ofproto_v1_3", "ofproto_v1_3_parser"]


class Ericsson(oxm_fields._OxmClass):  # type: ignore[misc]
    """ERICOXM_OF_..., which Ryu does not know (Open vSwitch, meta-flow.h)."""

    _class = 0x1000


ofproto_v1_3.oxm_types += [
    Ericsson("nd_reserved", 1, type_desc.Int4),
    Ericsson("nd_options_type", 2, type_desc.Int1),
]
oxm_fields.generate(ofproto_v1_3.__name__)
