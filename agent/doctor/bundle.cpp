#include "agent/doctor/bundle.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "agent/control.hpp"
#include "agent/doctor/files.hpp"
#include "agent/filters.hpp"
#include "agent/names.hpp"
#include "agent/nic_report.hpp"
#include "agent/words.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent::doctor {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTop = "sepal-doctor/";
// A host with more says so where the rest is left out.
constexpr size_t kRulesMax = 100'000;

constexpr std::string_view kReadMe =
    R"(What `sepalctl doctor --bundle` gathered about one host. Read it before you hand it on.

  doctor.txt, doctor.json   what was looked at, and what was found
  config/                   the YAML files of the configuration, as they are, comments included
  state.txt                 sepald's state file: zones, addresses served, gateways, next hops
  status.json               what a running sepald says of itself
  rules/DEVICE.txt          every tc filter on its ingress, others' too, with counters
  devices.txt               network devices: kind, MTU, state, MAC address, master
  next-hops.txt             the ways to remote VTEPs
  nic.txt                   the NIC: driver, firmware, eSwitch, VFs
  kernel.txt                the kernel's release and how it was built, of what matters here
  conntrack.txt             settings and number of connections; no connection itself

There is nothing in it from the environment, of other programs' files, and no packet. Tenants' names, MAC and IP addresses are in it.
)";

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// The files `validate` reads, whether they are valid or not.
void add_config(const std::string& directory, std::vector<TarFile>& files) {
  for (const char* sub : {"", "tenants.d"}) {
    std::vector<fs::path> paths;
    std::error_code error;
    for (fs::directory_iterator entry(fs::path(directory) / sub, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string extension = entry->path().extension().string();
      if (extension == ".yaml" || extension == ".yml") paths.push_back(entry->path());
    }
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
      const std::string name = (fs::path("config") / sub / path.filename()).string();
      if (const auto text = read_text(path); text && name.size() < 80) files.push_back({kTop + name, *text});
    }
  }
}

std::string devices_text(const Facts& facts) {
  std::string text;
  for (const netlink::Link& link : facts.links) {
    text += std::to_string(link.index.value()) + " " + link.name + (link.kind.empty() ? "" : " " + link.kind) +
            " mtu " + std::to_string(link.mtu) + (link.up ? " up" : " down") + (link.running ? " running" : "") + " " +
            link.mac.to_string();
    if (const netlink::Link* master = link.master == IfIndex() ? nullptr : facts.link(link.master))
      text += " master " + master->name;
    if (link.vlan) text += " vlan " + std::to_string(link.vlan->value());
    if (link.vxlan) text += " port " + std::to_string(link.vxlan->port);
    if (!link.phys_port_name.empty()) text += " phys_port_name " + link.phys_port_name;
    if (!link.alias.empty()) text += " alias " + link.alias;
    text += "\n";
  }
  return text;
}

std::string ways_text(const Facts& facts) {
  std::string text;
  for (const UnderlayWay& way : facts.ways) {
    text += way.vtep.to_string();
    if (way.hop) text += " via " + way.hop->address.to_string() + " dev " + way.device;
    const auto status = facts.way_status.find(way.vtep);
    if (status != facts.way_status.end()) {
      if (status->second.mac) text += " " + status->second.mac->to_string();
      text += " " + std::string(to_string(status->second.state));
    }
    text += (way.keep_out.empty() ? "" : ": " + way.keep_out) + "\n";
  }
  return text.empty() ? "no route leads to another hypervisor\n" : text;
}

std::string kernel_text(const Facts& facts) {
  std::string text = "release " + facts.kernel + "\n";
  text += facts.options.source.empty() ? "how it was built is not told\n" : "from " + facts.options.source + "\n";
  for (const auto& [option, value] : facts.options.settings)
    for (const char* part : {"NET_CLS", "NET_ACT", "NET_SCH", "NET_TC", "NF_", "MLX5", "VXLAN", "BPF", "BONDING"})
      if (option.starts_with(part)) {
        text += "CONFIG_" + option + "=" + value + "\n";
        break;
      }
  for (const auto& [option, there] : facts.options.evidence)
    text += option + (there ? " is there" : " is not there") + ", by the kernel's symbols\n";
  return text;
}

std::string conntrack_text(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts.sysctls) text += "net.netfilter." + name + " = " + value + "\n";
  if (facts.connections) text += "connections " + std::to_string(*facts.connections) + "\n";
  return text.empty() ? "connection tracking is not loaded\n" : text;
}

void add_rules(Kernel& kernel, const Facts& facts, std::vector<TarFile>& files) {
  std::map<IfIndex, std::string> devices;
  for (const netlink::Link& link : facts.links) devices.emplace(link.index, link.name);
  const Names names(facts.config ? &*facts.config : nullptr, facts.ports, devices);
  auto clsact = netlink::list_clsact(kernel.route);
  if (!clsact) {
    files.push_back({std::string(kTop) + "rules/none.txt", clsact.error().message() + "\n"});
    return;
  }
  size_t left = kRulesMax;
  for (const IfIndex device : *clsact) {
    auto filters = dump_filters(kernel.route, device);
    std::string text = filters ? "" : filters.error().message() + "\n";
    for (const Filter& filter : filters ? *filters : std::vector<Filter>()) {
      if (left == 0) {
        text += "… more are left out\n";
        break;
      }
      --left;
      if (filter.kind != "flower") {
        text += describe_place(names.device(device), filter.rule.id, filter.kind) + "\n";
        continue;
      }
      const tc::ActionStats last = filter.state.stats.empty() ? tc::ActionStats{} : filter.state.stats.back();
      text += std::string(filter.state.in_hw ? "in_hw" : "not_in_hw") + " packets " + std::to_string(last.packets) +
              " hw " + std::to_string(last.hw_packets) + " " + rule_text(filter.rule, names) + "\n";
    }
    files.push_back({std::string(kTop) + "rules/" + names.device(device) + ".txt", std::move(text)});
  }
}

}  // namespace

std::vector<TarFile> collect_bundle(Kernel& kernel, const BundleInput& input) {
  const Facts& facts = *input.facts;
  std::vector<TarFile> files;
  const auto add = [&files](const char* name, std::string content) {
    files.push_back({std::string(kTop) + name, std::move(content)});
  };
  add("README.txt", "sepalctl " + input.version + ", instance " + input.paths.instance + "\n\n" + std::string(kReadMe));
  add("doctor.txt", joined(to_lines(*input.findings)) + summary(*input.findings) + "\n");
  add("doctor.json", to_json(*input.findings).dump(2) + "\n");
  add_config(facts.directory, files);
  add("state.txt", read_text(input.paths.state).value_or("none\n"));
  auto status = ask_daemon(input.paths.socket, {{"do", "status"}}, std::chrono::seconds(30));
  add("status.json", status ? status->dump(2) + "\n" : status.error().message() + "\n");
  add_rules(kernel, facts, files);
  add("devices.txt", devices_text(facts));
  add("next-hops.txt", ways_text(facts));
  add("nic.txt", facts.card ? joined(agent::to_lines(*facts.card)) : facts.card_error + "\n");
  add("kernel.txt", kernel_text(facts));
  add("conntrack.txt", conntrack_text(facts));
  return files;
}

Result<void> write_bundle(const std::string& path, const std::vector<TarFile>& files) {
  auto archive = make_tar(files, static_cast<uint64_t>(std::time(nullptr)));
  if (!archive) return Unexpected(archive.error());
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno(errno, "open " + path);
  std::string_view rest = *archive;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "write " + path);
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

std::vector<std::string> to_lines(const Findings& findings) {
  size_t widest = 0;
  for (const Finding& finding : findings) widest = std::max(widest, finding.check.size());
  std::vector<std::string> lines;
  for (const Finding& finding : findings) {
    std::string state(to_string(finding.state));
    state.resize(std::string_view("unknown").size(), ' ');
    std::string check = finding.check;
    check.resize(widest, ' ');
    lines.push_back(state + "  " + check + "  " + finding.what);
    if (!finding.cure.empty()) lines.push_back(std::string(state.size() + 2 + widest + 2, ' ') + "→ " + finding.cure);
  }
  return lines;
}

std::string summary(const Findings& findings) {
  std::array<size_t, 4> counts{};
  for (const Finding& finding : findings) ++counts[static_cast<size_t>(finding.state)];
  std::string text;
  for (const State state : {State::fail, State::warn, State::unknown, State::ok}) {
    if (!text.empty()) text += ", ";
    text += std::to_string(counts[static_cast<size_t>(state)]) + " " + std::string(to_string(state));
  }
  return text;
}

}  // namespace sepal::agent::doctor
