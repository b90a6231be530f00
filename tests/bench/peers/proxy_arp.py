"""A proxy-ARP application as tutorials and papers write it for Ryu.

It is here to be measured: `ryu.lib.packet` to read and to write, one packet-out for
each answer, a flow for each pair of hosts.  isat uses nothing of it.
"""

from __future__ import annotations

from typing import Any

from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib.packet import arp, ethernet, packet
from ryu.ofproto import ofproto_v1_3


class ProxyArp(app_manager.RyuApp):  # type: ignore[misc]
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.arp_table: dict[int, dict[str, str]] = {}
        self.mac_to_port: dict[int, dict[str, int]] = {}

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)  # type: ignore[untyped-decorator]
    def switch_features_handler(self, ev: Any) -> None:
        datapath = ev.msg.datapath
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        actions = [
            parser.OFPActionOutput(ofproto.OFPP_CONTROLLER, ofproto.OFPCML_NO_BUFFER)
        ]
        self.add_flow(datapath, 0, parser.OFPMatch(), actions)

    def add_flow(self, datapath: Any, priority: int, match: Any, actions: Any) -> None:
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        instructions = [
            parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)
        ]
        datapath.send_msg(
            parser.OFPFlowMod(
                datapath=datapath,
                priority=priority,
                match=match,
                instructions=instructions,
            )
        )

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def packet_in_handler(self, ev: Any) -> None:
        msg = ev.msg
        datapath, in_port = msg.datapath, msg.match["in_port"]
        frame = packet.Packet(msg.data)
        eth = frame.get_protocol(ethernet.ethernet)
        self.mac_to_port.setdefault(datapath.id, {})[eth.src] = in_port
        heard = frame.get_protocol(arp.arp)
        if heard is not None and self.answer(datapath, in_port, eth, heard):
            return
        self.forward(datapath, in_port, eth, msg)

    def answer(self, datapath: Any, in_port: int, eth: Any, heard: Any) -> bool:
        table = self.arp_table.setdefault(datapath.id, {})
        table[heard.src_ip] = heard.src_mac
        if heard.opcode != arp.ARP_REQUEST or heard.dst_ip not in table:
            return False
        lladdr = table[heard.dst_ip]
        reply = packet.Packet()
        reply.add_protocol(
            ethernet.ethernet(ethertype=eth.ethertype, dst=eth.src, src=lladdr)
        )
        reply.add_protocol(
            arp.arp(
                opcode=arp.ARP_REPLY,
                src_mac=lladdr,
                src_ip=heard.dst_ip,
                dst_mac=heard.src_mac,
                dst_ip=heard.src_ip,
            )
        )
        reply.serialize()
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        datapath.send_msg(
            parser.OFPPacketOut(
                datapath=datapath,
                buffer_id=ofproto.OFP_NO_BUFFER,
                in_port=ofproto.OFPP_CONTROLLER,
                actions=[parser.OFPActionOutput(in_port)],
                data=reply.data,
            )
        )
        return True

    def forward(self, datapath: Any, in_port: int, eth: Any, msg: Any) -> None:
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        out = self.mac_to_port[datapath.id].get(eth.dst, ofproto.OFPP_FLOOD)
        actions = [parser.OFPActionOutput(out)]
        if out != ofproto.OFPP_FLOOD:
            match = parser.OFPMatch(in_port=in_port, eth_dst=eth.dst, eth_src=eth.src)
            self.add_flow(datapath, 1, match, actions)
        datapath.send_msg(
            parser.OFPPacketOut(
                datapath=datapath,
                buffer_id=msg.buffer_id,
                in_port=in_port,
                actions=actions,
                data=msg.data,
            )
        )
