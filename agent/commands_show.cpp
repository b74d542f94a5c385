// show: the kernel's rules by device, tenant and group, with counters; what waits and what was refused beside them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/changes.hpp"
#include "agent/commands.hpp"
#include "agent/control.hpp"
#include "agent/exit_codes.hpp"
#include "agent/report.hpp"
#include "agent/shown.hpp"
#include "agent/words.hpp"
#include "tc/pipeline/capabilities.hpp"

namespace sepal::agent {
namespace {

using nlohmann::json;

struct Choice {
  std::optional<Vni> vni;
  std::optional<unsigned> group;
};

// The group a rule serves; chain 0 is group 0 on ports and group 1 on the tunnel and the uplink.
unsigned group_of(const ShownRule& rule, const Shown& shown) {
  if (rule.filter.rule.id.chain != 0) return static_cast<unsigned>(rule.chain.group);
  return shown.blocks.contains(rule.filter.rule.id.device) ? 1 : 0;
}

std::string chain_title(const ShownRule& rule, const Shown& shown) {
  static constexpr std::string_view kTitles[] = {"shared ingress", "decapsulation",  "connections and NAT",
                                                 "routes",         "egress",         "punted packets",
                                                 "guest services", "new connections"};
  const unsigned group = group_of(rule, shown);
  std::string name = rule.filter.rule.id.chain == 0 ? "g" + std::to_string(group) : tc::to_string(rule.chain);
  return name + "  " + std::string(kTitles[group]);
}

std::string device_title(IfIndex device, const Shown& shown) {
  std::string title = shown.names.device(device);
  const auto block = shown.blocks.find(device);
  if (const tc::PortKey* port = shown.names.port_on(device))
    title += "  (tenant " + port->tenant + ", port " + port->port + ")";
  else if (block != shown.blocks.end())
    title += block->second == tc::BlockKind::vxlan ? "  (tunnel)" : "  (uplink)";
  return title;
}

std::string rule_actions(const ShownRule& rule, const Shown& shown) {
  std::string text = actions_in_words(rule.filter.rule.spec, shown.names);
  if (rule.origin && rule.origin->drop != tc::DropReason::none)
    text += ": " + std::string(tc::to_string(rule.origin->drop));
  if (rule.denied() > 0) text += "  (" + std::to_string(rule.denied()) + " denied)";
  if (rule.dropped_by_action() > 0) text += "  (" + std::to_string(rule.dropped_by_action()) + " dropped by an action)";
  if (rule.changed) text += "  (differs from the configuration)";
  return text;
}

void print_rules(const Output& out, const Shown& shown, const std::vector<const ShownRule*>& rules) {
  const ShownRule* before = nullptr;
  std::vector<std::vector<std::string>> rows;
  auto flush = [&] {
    out.table(rows, 4);
    rows.clear();
  };
  for (const ShownRule* rule : rules) {
    const tc::RuleId& id = rule->filter.rule.id;
    const bool new_device = before == nullptr || before->filter.rule.id.device != id.device;
    const bool new_chain = new_device || before->filter.rule.id.chain != id.chain;
    if (new_chain) flush();
    if (new_device) out.line((before == nullptr ? "" : "\n") + out.paint(Paint::bold, device_title(id.device, shown)));
    if (new_chain) {
      std::string title = chain_title(*rule, shown);
      if (id.chain != 0 && rule->chain.vni != Vni())
        if (const auto tenant = shown.names.tenant_name(rule->chain.vni)) title += ", tenant " + *tenant;
      out.line("  " + out.paint(Paint::dim, title));
    }
    const std::string actions = rule_actions(*rule, shown);
    const bool drops = rule->origin && rule->origin->drop != tc::DropReason::none && rule->packets() > 0;
    rows.push_back({">" + std::to_string(id.prio), match_in_words(rule->filter.rule.spec.match),
                    "→ " + (drops ? out.paint(Paint::yellow, actions) : actions),
                    ">" + std::to_string(rule->packets()) + " pkts", ">" + std::to_string(rule->bytes()) + " bytes",
                    std::string(to_string(rule->placed.placement))});
    before = rule;
  }
  flush();
}

json rule_json(const ShownRule& rule, const Shown& shown) {
  const tc::RuleId& id = rule.filter.rule.id;
  json actions = json::array();
  for (const tc::Action& action : rule.filter.rule.spec.actions) actions.push_back(tc::to_text(action));
  json out{{"device", shown.names.device(id.device)},
           {"ifindex", id.device.value()},
           {"chain", id.chain},
           {"group", group_of(rule, shown)},
           {"lane", rule.chain.lane == tc::Lane::uplink ? "uplink" : "guest"},
           {"vni", rule.vni.value()},
           {"prio", id.prio},
           {"protocol", id.protocol},
           {"handle", id.handle},
           {"match", tc::to_text(rule.filter.rule.spec.match)},
           {"actions", std::move(actions)},
           {"words", actions_in_words(rule.filter.rule.spec, shown.names)},
           {"packets", rule.packets()},
           {"bytes", rule.bytes()},
           {"hw_packets", rule.hw_packets()},
           {"dropped_by_action", rule.dropped_by_action()},
           {"denied", rule.denied()},
           {"in_hw", rule.filter.state.in_hw},
           {"skip_hw", rule.filter.state.skip_hw}};
  if (const auto tenant = shown.names.tenant_name(rule.vni)) out["tenant"] = *tenant;
  if (const tc::PortKey* port = shown.names.port_on(id.device)) out["port"] = port->port;
  if (rule.origin) {
    out["shape"] = tc::to_string(tc::shape_of(rule.filter.rule, rule.origin->block));
    if (const ObjectName* object = shown.names.object(rule.origin->where)) out["object"] = object->text;
    if (const std::string place = shown.names.place(rule.origin->where); !place.empty()) out["place"] = place;
    if (rule.origin->drop != tc::DropReason::none) out["drop"] = tc::to_string(rule.origin->drop);
  }
  if (rule.changed) out["changed"] = true;
  put_placed(out, rule.placed);
  return out;
}

json foreign_json(const Filter& filter, const Shown& shown) {
  json out{{"device", shown.names.device(filter.rule.id.device)},
           {"ifindex", filter.rule.id.device.value()},
           {"kind", filter.kind},
           {"chain", filter.rule.id.chain},
           {"prio", filter.rule.id.prio},
           {"protocol", filter.rule.id.protocol},
           {"handle", filter.rule.id.handle}};
  if (filter.kind == "flower") out["rule"] = tc::to_text(filter.rule.spec);
  if (filter.state.cookie) out["instance_hash"] = filter.state.cookie->instance;
  return out;
}

void print_foreign(const Output& out, const Shown& shown) {
  std::vector<std::vector<std::string>> rows;
  for (const Filter& filter : shown.foreign) {
    const tc::RuleId& id = filter.rule.id;
    rows.push_back({shown.names.device(id.device), "chain " + std::to_string(id.chain),
                    "prio " + std::to_string(id.prio), filter.kind,
                    filter.kind == "flower" ? tc::to_text(filter.rule.spec) : "",
                    filter.state.cookie ? "another instance of sepal" : ""});
  }
  out.table(rows, 0);
  out.line(count_text(shown.foreign.size(), "filter") + " of others, never changed by sepal");
}

// What a running daemon could not install; without one `plan` shows what is missing.
json refused_by_daemon(const Command& command) {
  const auto reply = ask_daemon(command.paths.socket, {{"do", "status"}}, std::chrono::seconds(10));
  if (!reply) return json::array();
  return reply->value("report", json::object()).value("refused", json::array());
}

std::optional<Choice> read_choice(const Command& command, const Shown& shown) {
  Choice choice;
  auto group = command.options.number("--group", 0, 7);
  if (!group) {
    complain(command, group.error());
    return std::nullopt;
  }
  if (*group) choice.group = static_cast<unsigned>(**group);
  if (!tenant_asked(command, shown.names, choice.vni)) return std::nullopt;
  return choice;
}

}  // namespace

int command_show(const Command& command) {
  const auto config = read_for_names(command);
  Kernel kernel = command.kernel;
  auto shown = gather_shown(kernel, config ? &*config : nullptr, command.paths);
  if (!shown) return complain(command, shown.error());
  const auto choice = read_choice(command, *shown);
  if (!choice) return kExitError;
  const Output& out = command.output;
  const bool only_foreign = command.options.has("--foreign");
  std::vector<const ShownRule*> rules;
  for (const ShownRule& rule : shown->rules)
    if (!only_foreign && (!choice->vni || rule.vni == *choice->vni) &&
        (!choice->group || group_of(rule, *shown) == *choice->group))
      rules.push_back(&rule);
  const json refused = only_foreign ? json::array() : refused_by_daemon(command);
  if (out.json()) {
    json list = json::array();
    for (const ShownRule* rule : rules) list.push_back(rule_json(*rule, *shown));
    json foreign = json::array();
    for (const Filter& filter : shown->foreign) foreign.push_back(foreign_json(filter, *shown));
    json waiting = json::array();
    for (const tc::PortKey& port : shown->waiting) waiting.push_back({{"tenant", port.tenant}, {"port", port.port}});
    out.print({{"rules", std::move(list)},
               {"foreign", std::move(foreign)},
               {"waiting", std::move(waiting)},
               {"refused", refused}});
    return kExitOk;
  }
  if (only_foreign) {
    print_foreign(out, *shown);
    return kExitOk;
  }
  print_rules(out, *shown, rules);
  if (!rules.empty()) out.line("");
  for (const tc::PortKey& port : shown->waiting)
    out.line(out.paint(Paint::yellow,
                       "waiting: tenant " + port.tenant + ", port " + port.port + ": its device is not there"));
  for (const auto& trouble : refused) out.line(out.paint(Paint::red, "refused: " + refusal_line(trouble)));
  std::string summary = count_text(rules.size(), "rule");
  if (!shown->foreign.empty()) summary += "; " + count_text(shown->foreign.size(), "filter") + " of others (--foreign)";
  if (!config) summary += "; no readable configuration in " + command.directory + ", so tenants are numbers";
  out.line(summary);
  return kExitOk;
}

}  // namespace sepal::agent
