// I3: a tenant's packet never reaches another tenant's port, unless a peering says so. Follows every way through the
// gotos of a block, whatever the matches say, with the network the packet is in: its port's, then that of each
// conntrack zone it enters.
#include "tc/pipeline/lint_parts.hpp"

namespace sepal::tc {
namespace {

class Isolation {
 public:
  explicit Isolation(Lint& lint) : lint_(lint) {
    for (const auto& [vni, zone] : lint.context.zones) by_zone_[zone] = vni;
  }

  void check(const LintBlock& block) {
    block_ = &block;
    seen_.clear();
    auto owner = lint_.context.owners.find(block.device);
    const Vni start = owner == lint_.context.owners.end() ? Vni() : owner->second;
    if (block.kind == BlockKind::port && start == Vni()) {
      lint_.find("I3", *block.chains.begin()->second.front(), "rules on a device that belongs to no tenant");
      return;
    }
    follow(0, start);
  }

 private:
  using Network = Vni;  // 0: none yet

  [[nodiscard]] Network named_by(const CompiledRule& rule) const {
    const Match& match = rule.rule.spec.match;
    if (const KeyMatch* key = match.find(Key::enc_key_id)) return Vni(key->value_u32());
    if (const KeyMatch* key = match.find(Key::vlan_id)) {
      auto owner = lint_.context.vlans.find(Vid(static_cast<uint16_t>(key->value_u32())));
      if (owner != lint_.context.vlans.end()) return owner->second;
    }
    return Vni();
  }

  [[nodiscard]] bool may_cross(Network from, Network to) const {
    return from == Vni() || from == to || lint_.context.peers.contains({from, to});
  }

  void follow(uint32_t number, Network network) {
    auto chain = block_->chains.find(number);
    if (chain == block_->chains.end() || !seen_.emplace(number, network).second) return;
    for (const CompiledRule* rule : chain->second) {
      Network here = network;
      if (number == 0 && here == Vni()) here = named_by(*rule);
      step(*rule, here);
    }
  }

  void step(const CompiledRule& rule, Network network) {
    Vid tag;
    const TunnelSet* tunnel = nullptr;
    bool answers = false;
    for (const Action& action : rule.rule.spec.actions) {
      if (const auto* ct = std::get_if<Ct>(&action.kind)) {
        auto zone = by_zone_.find(ct->zone);
        if (zone == by_zone_.end()) continue;  // reassembly, nobody's
        if (!may_cross(network, zone->second)) {
          lint_.find("I3", rule,
                     "enters VNI " + std::to_string(zone->second.value()) + " from VNI " +
                         std::to_string(network.value()) + ", which is no peer of it");
        }
        network = zone->second;
      } else if (const auto* gact = std::get_if<Gact>(&action.kind)) {
        if (gact->verdict.control == Control::goto_chain) jump(rule, gact->verdict.chain, network);
      } else if (const auto* vlan = std::get_if<VlanAction>(&action.kind)) {
        if (vlan->kind == VlanAction::Kind::push) tag = vlan->id;
      } else if (const auto* set = std::get_if<TunnelSet>(&action.kind)) {
        tunnel = set;
      } else if (std::holds_alternative<Bpf>(action.kind)) {
        answers = true;
      } else if (const auto* mirred = std::get_if<Mirred>(&action.kind)) {
        if (!(answers && mirred->device == rule.rule.id.device)) leave(rule, mirred->device, network, tag, tunnel);
      }
    }
  }

  void jump(const CompiledRule& rule, uint32_t chain, Network network) {
    const Vni vni = parse_chain(chain).vni;
    if (network == Vni()) network = vni;
    if (vni != Vni() && vni != network) {
      lint_.find("I3", rule,
                 "leads a packet of VNI " + std::to_string(network.value()) + " into " + to_string(parse_chain(chain)));
    }
    follow(chain, network);
  }

  void leave(const CompiledRule& rule, IfIndex device, Network network, Vid tag, const TunnelSet* tunnel) {
    BlockKind kind = BlockKind::port;
    for (const auto& [known, what] : lint_.context.blocks) {
      if (known == device) kind = what;
    }
    auto wrong = [&](const std::string& where) {
      lint_.find("I3", rule, "a packet of VNI " + std::to_string(network.value()) + " leaves " + where);
    };
    if (kind == BlockKind::vxlan) {
      if (tunnel == nullptr || !may_cross(network, Vni(tunnel->key_id)) || network == Vni())
        wrong("with a foreign tunnel key");
    } else if (kind == BlockKind::uplink) {
      auto owner = lint_.context.vlans.find(tag);
      if (owner != lint_.context.vlans.end() && owner->second != network) wrong("with another tenant's VLAN");
    } else {
      auto owner = lint_.context.owners.find(device);
      if (owner == lint_.context.owners.end() || owner->second != network) {
        wrong("on device " + std::to_string(device.value()) + ", which is not its own");
      }
    }
  }

  Lint& lint_;
  const LintBlock* block_ = nullptr;
  std::map<Zone, Vni> by_zone_;
  std::set<std::pair<uint32_t, Network>> seen_;
};

}  // namespace

void lint_isolation(Lint& lint) {
  Isolation isolation(lint);
  // Blocks are not added while findings are.
  for (const LintBlock& block : lint.blocks) isolation.check(block);
}

}  // namespace sepal::tc
