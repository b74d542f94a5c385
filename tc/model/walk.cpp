// See walk.hpp; net/sched/cls_api.c (tcf_classify) and the actions' own files are what this follows.
#include "tc/model/walk.hpp"

#include <algorithm>
#include <optional>

namespace sepal::tc::model {
namespace {

// The headers pedit may touch, as bytes: Ethernet addresses, and of IP the word that holds the TTL.
void put_word(std::array<uint8_t, 12>& bytes, const PeditKey& key) {
  for (size_t i = 0; i < 4; ++i) {
    const auto shift = static_cast<unsigned>(24 - 8 * i);
    const auto mask = static_cast<uint8_t>(key.mask >> shift);
    const auto value = static_cast<uint8_t>(key.value >> shift);
    uint8_t& byte = bytes.at(key.offset + i);
    byte = static_cast<uint8_t>((byte & ~mask) | (value & mask));
  }
}

std::string apply(const Pedit& pedit, Packet& packet) {
  std::array<uint8_t, 12> eth{};
  std::copy(packet.dst_mac.bytes.begin(), packet.dst_mac.bytes.end(), eth.begin());
  std::copy(packet.src_mac.bytes.begin(), packet.src_mac.bytes.end(), eth.begin() + 6);
  for (const PeditKey& key : pedit.keys) {
    const bool add = key.command == PeditKey::Command::add;
    if (key.header == PeditKey::Header::eth && !add && key.offset <= 8) {
      put_word(eth, key);
    } else if (key.header == PeditKey::Header::ip4 && add && key.offset == 8 && key.mask == 0xff000000U) {
      if (packet.eth_type != kEthIpv4) return "pedit of an IPv4 header in another packet";
      packet.ttl = static_cast<uint8_t>(packet.ttl + (key.value >> 24U));
      packet.checksum_stale = true;
    } else if (key.header == PeditKey::Header::ip6 && add && key.offset == 4 && key.mask == 0xffU) {
      if (packet.eth_type != kEthIpv6) return "pedit of an IPv6 header in another packet";
      packet.ttl = static_cast<uint8_t>(packet.ttl + key.value);
    } else {
      return "pedit of an unexpected field";
    }
  }
  std::copy(eth.begin(), eth.begin() + 6, packet.dst_mac.bytes.begin());
  std::copy(eth.begin() + 6, eth.end(), packet.src_mac.bytes.begin());
  return {};
}

// As the program sees it: what has come so far and is a client's question.
bool is_for_agent(const Packet& packet) {
  return packet.protocol == kProtoUdp || (packet.is_icmp() && packet.icmp_type == 133);
}

policy::Flow flow_of(const Packet& packet, bool from_peer) {
  policy::Flow flow{packet.src, packet.dst, packet.protocol, 0, from_peer};
  if (packet.protocol == kProtoTcp || packet.protocol == kProtoUdp) {
    flow.detail = packet.dst_port;
  } else if (packet.is_icmp()) {
    flow.detail = static_cast<uint16_t>(packet.icmp_type << 8U | packet.icmp_code);
  }
  return flow;
}

// In which direction ever.
bool is_dhcp(const Packet& packet) {
  const auto is_port = [](uint16_t port) { return port == 67 || port == 68 || port == 546 || port == 547; };
  return packet.protocol == kProtoUdp && (is_port(packet.src_port) || is_port(packet.dst_port));
}

}  // namespace

struct Dataplane::Run {
  Outcome out;
  IfIndex device;
  uint32_t chain = 0;
  std::optional<uint32_t> next;
  Packet& packet;
  Conntrack& conntrack;
  const std::function<bool(const Connection&)>* offloaded = nullptr;
  const std::function<bool(const CompiledRule&)>* held = nullptr;
  size_t missed_action = 0;  // hardware: a ct action that missed
  const CompiledRule* missed_rule = nullptr;

  Run(IfIndex device_, Packet start, Conntrack& conntrack_)
      : out(), device(device_), packet(out.packet), conntrack(conntrack_) {
    out.packet = std::move(start);
  }
  void fault(std::string what) {
    if (out.fault.empty()) out.fault = std::move(what);
  }
};

Dataplane::Dataplane(const RuleSet& rules, IfIndex vxlan, const Judges* judges)
    : rules_(rules), vxlan_(vxlan), judges_(judges) {
  for (const CompiledRule& rule : rules.rules) {
    if (is_size_check(rule.rule.spec)) continue;                          // packets here are small
    chains_[{rule.rule.id.device, rule.rule.id.chain}].push_back(&rule);  // sorted by prio already
  }
}

const CompiledRule* Dataplane::pick(const Run& run, View view) const {
  auto chain = chains_.find({run.device, run.chain});
  if (chain == chains_.end()) return nullptr;
  const uint16_t state = run.conntrack.state_bits(run.packet);
  const uint32_t mark = run.conntrack.mark(run.packet);
  const CompiledRule* best = nullptr;
  for (const CompiledRule* rule : chain->second) {
    if (best != nullptr && rule->rule.id.prio != best->rule.id.prio) break;
    if (view == View::hardware && !(*run.held)(*rule)) continue;
    if (!matches(rule->rule.spec.match, rule->rule.id.protocol, run.packet, state, mark, view)) continue;
    if (asks_untracked(rule->rule.spec) && !lets_go(run, *rule)) continue;
    if (best == nullptr) {
      best = rule;
    } else if (best->rule.spec.actions != rule->rule.spec.actions) {
      // Within one priority the kernel asks mask by mask in an order that a configuration does not decide for sure.
      const_cast<Run&>(run).fault("two rules of one priority differ: " + to_text(best->rule) + " | " +
                                  to_text(rule->rule));
    } else if (rule->depth < best->depth) {
      best = rule;  // it was written first, and so was its mask
    }
  }
  return best;
}

const NeighbourEntry* Dataplane::neighbour(const Run& run, const IpAddr& address) const {
  const Vid vlan = run.packet.tags.empty() ? Vid() : run.packet.tags[0].id;
  const NeighbourEntry* best = nullptr;
  for (const NeighbourEntry& entry : rules_.neighbours) {
    if (entry.device != run.device || entry.vlan != vlan || !entry.target.contains(address)) continue;
    if (best == nullptr || entry.target.length > best->target.length) best = &entry;
  }
  return best;
}

bool Dataplane::is_honest(const Run& run) const {
  using Answer = NeighbourEntry::Answer;
  const Packet& packet = run.packet;
  const auto guest = std::find_if(rules_.neighbours.begin(), rules_.neighbours.end(), [&](const NeighbourEntry& e) {
    return e.device == run.device && e.target.length == 0 && e.target.family() == Family::ipv6 &&
           (e.answer == Answer::guard || e.answer == Answer::silent);
  });
  if (guest == rules_.neighbours.end()) return true;
  auto is_own = [&](const IpAddr& address) {
    const NeighbourEntry* entry = neighbour(run, address);
    if (entry == nullptr || entry->answer == Answer::gateway) return false;
    return entry->answer == Answer::silent || entry->own || (!address.is_v4() && address.is_link_local());
  };
  if (!guest->mac.is_zero() && packet.src_mac != guest->mac) return false;
  if (packet.eth_type == kEthArp && !packet.said_mac.is_zero() && packet.said_mac != packet.src_mac) return false;
  if (!packet.src.is_unspecified() && !is_own(packet.src)) return false;
  return !packet.is_advertisement() || is_own(packet.asked);
}

bool Dataplane::answer_question(Run& run) const {
  using Answer = NeighbourEntry::Answer;
  const Packet& packet = run.packet;
  run.out.forged = !is_honest(run);
  if (run.out.forged || !packet.is_question()) return false;
  if (packet.eth_type == kEthArp && packet.arp_operation != kArpRequest) return false;
  const NeighbourEntry* entry = neighbour(run, packet.asked);
  if (entry == nullptr || entry->answer == Answer::silent || entry->answer == Answer::guard) return false;
  run.packet.answer = entry->mac;
  return true;
}

// The rule has matched an echo request to a gateway; a station answers, and to one.
bool Dataplane::answer_echo(Run& run) const {
  Packet& packet = run.packet;
  const uint8_t first = packet.src.bytes[0];
  const bool one_host = packet.src.is_v4() ? first != 0 && first != 127 && first < 224
                                           : !packet.src.is_multicast() && !packet.src.is_unspecified();
  if (!one_host || packet.fragment || packet.dst_mac.is_multicast() || packet.src_mac.is_multicast()) return false;
  packet.answer = packet.dst_mac;
  return true;
}

bool Dataplane::choose_slice(Run& run) const {
  Packet& packet = run.packet;
  const uint16_t port = packet.quoted ? packet.quoted->src_port : packet.icmp_id;
  const SliceEntry* best = nullptr;
  for (const SliceEntry& entry : rules_.slices) {
    const uint32_t mask = 0xffff0000U >> entry.port_bits;
    if (entry.address != packet.dst || ((port ^ entry.port) & mask & 0xffffU) != 0) continue;
    if (best == nullptr || entry.port_bits > best->port_bits) best = &entry;
  }
  if (best == nullptr) return false;
  packet.hash = best->slice;
  return true;
}

bool Dataplane::judge(Run& run) const {
  const Vni vni(run.packet.mark & SEPAL_MARK_VNI);
  const policy::Judge* judge = judge_of(vni);
  const bool from_peer = (run.packet.mark & SEPAL_MARK_FROM_PEER) != 0;
  // Without tables the program denies.
  run.out.judged.push_back({vni, judge == nullptr ? policy::Verdict() : judge->judge(flow_of(run.packet, from_peer))});
  return run.out.judged.back().verdict.allowed;
}

bool Dataplane::lets_go(const Run& run, const CompiledRule& rule) const {
  const Packet& packet = run.packet;
  const bool usual = !packet.fragment && packet.ttl >= SEPAL_USUAL_TTL_MIN && packet.ttl <= SEPAL_USUAL_TTL_MAX;
  if (!usual || !packet.unseen || is_dhcp(packet)) return false;
  for (const Action& action : rule.rule.spec.actions) {
    const auto* mark = std::get_if<SkbeditMark>(&action.kind);
    if (mark == nullptr || (mark->mark & SEPAL_MARK_LET_GO) == 0) continue;
    const policy::Judge* judge = judge_of(Vni(mark->mark & SEPAL_MARK_VNI));
    return judge != nullptr && judge->judge(flow_of(run.packet, false)).allowed;
  }
  return false;
}

const policy::Judge* Dataplane::judge_of(Vni vni) const {
  if (judges_ == nullptr) return nullptr;
  const auto judge = judges_->find(vni);
  return judge == judges_->end() ? nullptr : &judge->second;
}

void Dataplane::finish_sent(Run& run, const CompiledRule& rule, IfIndex device) const {
  run.out.kind = Outcome::Kind::sent;
  run.out.device = device;
  run.out.by = &rule;
  if (run.packet.checksum_stale) run.fault("left with a stale IPv4 checksum");
  if (run.packet.mark != 0) run.fault("left with a mark");
  if (device == vxlan_) {
    if (!run.packet.leaves_in) run.fault("sent into the vxlan device without a tunnel key");
    if (run.packet.received_in) run.fault("came from the overlay and went back into it");
  } else if (run.packet.leaves_in || run.packet.received_in) {
    run.fault("left on " + std::to_string(device.value()) + " with tunnel metadata");
  }
}

bool Dataplane::act(Run& run, const CompiledRule& rule, size_t first, View view) const {
  Packet& packet = run.packet;
  auto end = [&](Outcome::Kind kind) {
    run.out.kind = kind;
    run.out.by = &rule;
    return true;
  };
  auto follow = [&](const Verdict& verdict, bool by_rule) -> std::optional<bool> {
    switch (verdict.control) {
      case Control::pipe: return std::nullopt;
      case Control::drop:
        if (by_rule && rule.origin.drop == DropReason::none)
          run.fault("a drop without a reason: " + to_text(rule.rule));
        return end(Outcome::Kind::dropped);
      case Control::pass: return end(Outcome::Kind::host);
      case Control::goto_chain: run.next = verdict.chain; return false;
      default: run.fault("a verdict that is never ours"); return end(Outcome::Kind::dropped);
    }
  };
  run.next.reset();
  const std::vector<Action>& actions = rule.rule.spec.actions;
  for (size_t i = first; i < actions.size(); ++i) {
    const ActionKind& kind = actions[i].kind;
    if (const auto* gact = std::get_if<Gact>(&kind)) {
      if (auto ended = follow(gact->verdict, true)) return *ended;
    } else if (const auto* mirred = std::get_if<Mirred>(&kind)) {
      finish_sent(run, rule, mirred->device);
      return true;
    } else if (const auto* vlan = std::get_if<VlanAction>(&kind)) {
      if (vlan->kind == VlanAction::Kind::pop) {
        if (packet.tags.empty()) {
          run.fault("vlan pop of an untagged frame");
        } else {
          packet.tags.erase(packet.tags.begin());
        }
      } else {
        packet.tags.insert(packet.tags.begin(), {vlan->protocol, vlan->id});
      }
    } else if (const auto* set = std::get_if<TunnelSet>(&kind)) {
      packet.leaves_in = Tunnel{set->key_id, set->source, set->destination, set->dst_port};
      if (i + 1 == actions.size() || !std::holds_alternative<Mirred>(actions[i + 1].kind)) {
        run.fault("tunnel_key set without its redirect");
      }
    } else if (std::holds_alternative<TunnelUnset>(kind)) {
      packet.received_in.reset();
    } else if (const auto* pedit = std::get_if<Pedit>(&kind)) {
      if (std::string wrong = apply(*pedit, packet); !wrong.empty()) run.fault(wrong);
    } else if (const auto* csum = std::get_if<Csum>(&kind)) {
      if ((csum->flags & kCsumIpv4Header) != 0) packet.checksum_stale = false;
    } else if (const auto* ct = std::get_if<Ct>(&kind)) {
      if (!packet.is_ip()) run.fault("conntrack of a packet that is not IP");
      if (view == View::hardware) {
        if (ct->commit || !run.conntrack.hardware_lookup(*ct, packet, *run.offloaded)) {
          run.missed_rule = &rule;
          run.missed_action = i;
          return false;
        }
      } else if (!run.conntrack.act(*ct, packet)) {
        return end(Outcome::Kind::dropped);
      }
    } else if (const auto* bpf = std::get_if<Bpf>(&kind)) {
      if (bpf->name == "sepal_policy") {
        if (!judge(run)) return end(Outcome::Kind::dropped);
        continue;
      }
      if (bpf->name == "sepal_room") continue;  // connections here are few
      // Where the TTL ends the packet does; what its sender is told is another.
      if (bpf->name == "sepal_icmp" && packet.mark == SEPAL_ICMP_EXPIRED) return end(Outcome::Kind::dropped);
      if (bpf->name == "sepal_question" && packet.mark == SEPAL_QUESTION_OVERHEARD) continue;
      if (bpf->name == "sepal_question" && is_for_agent(packet)) return end(Outcome::Kind::heard);
      const bool done = bpf->name == "sepal_slice"   ? choose_slice(run)
                        : bpf->name == "sepal_icmp"  ? answer_echo(run)
                        : bpf->name == "sepal_neigh" ? answer_question(run)
                                                     : false;
      if (!done) {
        if (auto ended = follow(bpf->verdict, false)) return *ended;
      }
    } else if (const auto* mark = std::get_if<SkbeditMark>(&kind)) {
      packet.mark = mark->mark;
    } else if (!std::holds_alternative<Police>(kind)) {
      run.fault("an action that is never ours");
    }
  }
  run.fault("actions end without a verdict: " + to_text(rule.rule));
  return end(Outcome::Kind::host);
}

void Dataplane::software_from(Run& run, uint32_t chain) const {
  run.chain = chain;
  for (unsigned gotos = 0; gotos <= 16; ++gotos) {
    const CompiledRule* rule = pick(run, View::software);
    run.out.way.push_back({run.chain, rule, false});
    if (rule == nullptr) {
      run.out.kind = Outcome::Kind::host;
      run.out.by = nullptr;
      if (run.chain != 0) run.fault("fell off chain " + to_string(parse_chain(run.chain)));
      return;
    }
    if (act(run, *rule, 0, View::software)) return;
    run.chain = *run.next;
    if (!chains_.contains({run.device, run.chain})) run.fault("goto a chain that is not there");
  }
  run.fault("more than 16 gotos");
  run.out.kind = Outcome::Kind::dropped;
}

Outcome Dataplane::software(IfIndex device, Packet packet, Conntrack& conntrack) const {
  Run run(device, std::move(packet), conntrack);
  software_from(run, 0);
  return std::move(run.out);
}

Outcome Dataplane::hardware(IfIndex device, Packet packet, Conntrack& conntrack,
                            const std::function<bool(const Connection&)>& offloaded,
                            const std::function<bool(const CompiledRule&)>& held, GoesOn goes_on) const {
  Run run(device, std::move(packet), conntrack);
  run.offloaded = &offloaded;
  run.held = &held;
  for (unsigned gotos = 0; gotos <= 16; ++gotos) {
    const CompiledRule* rule = pick(run, View::hardware);
    if (rule == nullptr) break;  // missed: up to software, in this chain, as it is now
    run.out.way.push_back({run.chain, rule, true});
    if (act(run, *rule, 0, View::hardware)) {
      if (run.out.kind != Outcome::Kind::host) return std::move(run.out);
      run.chain = 0;  // `pass` hands up a packet that software looks at from the start
      break;
    }
    if (run.missed_rule != nullptr && goes_on == GoesOn::in_chain) {
      run.out.way.pop_back();
      break;
    }
    if (run.missed_rule != nullptr) {  // software takes over at the ct action
      run.out.left_hardware = true;
      if (act(run, *run.missed_rule, run.missed_action, View::software)) return std::move(run.out);
      run.chain = *run.next;
      break;
    }
    run.chain = *run.next;
  }
  run.out.left_hardware = true;
  software_from(run, run.chain);
  return std::move(run.out);
}

bool same_end(const Outcome& a, const Outcome& b) {
  if (a.kind != b.kind || a.device != b.device || a.by != b.by) return false;
  if (a.kind == Outcome::Kind::dropped) return true;
  const Packet& x = a.packet;
  const Packet& y = b.packet;
  return x.dst_mac == y.dst_mac && x.src_mac == y.src_mac && x.tags == y.tags && x.eth_type == y.eth_type &&
         x.src == y.src && x.dst == y.dst && x.ttl == y.ttl && x.tuple() == y.tuple() && x.quoted == y.quoted &&
         x.leaves_in == y.leaves_in && x.answer == y.answer;
}

std::string Outcome::to_string() const {
  std::string text;
  switch (kind) {
    case Kind::dropped: text = "dropped"; break;
    case Kind::host: text = "passed to the host"; break;
    case Kind::heard: text = "heard by the agent"; break;
    case Kind::sent: text = "sent on " + std::to_string(device.value()); break;
  }
  if (reason() != DropReason::none) text += " (" + std::string(sepal::tc::to_string(reason())) + ")";
  text += "; way:";
  for (const Visit& visit : way)
    text += " " + (visit.chain == 0 ? "start" : sepal::tc::to_string(parse_chain(visit.chain))) + ",";
  text += " frame: " + model::to_string(packet);
  if (!fault.empty()) text += "; FAULT: " + fault;
  return text;
}

}  // namespace sepal::tc::model
