// How the running kernel was built, against what forwarding and offload need. Which option does what for mlx5: Linux,
// drivers/net/ethernet/mellanox/mlx5/core/Kconfig; since 6.3 MLX5_CLS_ACT depends on NET_TC_SKB_EXT.
#include <charconv>

#include "agent/doctor/checks.hpp"

namespace sepal::agent::doctor {
namespace {

constexpr std::string_view kCheck = "kernel";
constexpr std::string_view kOtherKernel =
    "boot a kernel that has it (README, \"Which NICs and kernels offload\"); until then everything works in software";

struct Need {
  const char* option;
  const char* what;
};
constexpr Need kForwarding[] = {{"NET_SCH_INGRESS", "clsact"},
                                {"NET_CLS_FLOWER", "every rule"},
                                {"NET_CLS_ACT", "every rule"},
                                {"NET_ACT_GACT", "drops and jumps"},
                                {"NET_ACT_MIRRED", "sending"},
                                {"NET_ACT_PEDIT", "routing"},
                                {"NET_ACT_CSUM", "routing"},
                                {"NET_ACT_CT", "connections"},
                                {"NET_ACT_TUNNEL_KEY", "tunnels"},
                                {"NET_ACT_VLAN", "tenant VLANs"},
                                {"NET_ACT_POLICE", "limits"},
                                {"NET_ACT_SKBEDIT", "the slow path"},
                                {"NET_ACT_BPF", "the slow path"},
                                {"BPF_SYSCALL", "the slow path"},
                                {"NF_CONNTRACK", "connections"},
                                {"NF_CONNTRACK_ZONES", "tenants with equal addresses"},
                                {"NF_CONNTRACK_MARK", "connections"},
                                {"NF_NAT", "nat"},
                                {"NF_FLOW_TABLE", "connections (act_ct is built on it)"},
                                {"VXLAN", "tunnels"}};

// "6.12.9+bpo-amd64" → 6, 12; zeros when it is written otherwise.
std::pair<int, int> version_of(const std::string& release) {
  int major = 0;
  int minor = 0;
  const char* end = release.data() + release.size();
  const auto [dot, error] = std::from_chars(release.data(), end, major);
  if (error == std::errc() && dot != end && *dot == '.') (void)std::from_chars(dot + 1, end, minor);
  return {major, minor};
}

void check_forwarding(const Facts& facts, Findings& out) {
  bool any = false;
  for (const Need& need : kForwarding) {
    if (facts.options.has(need.option) != false) continue;
    any = true;
    say(out, std::string(kCheck), State::fail,
        std::string("built without ") + need.option + ", which is needed for " + need.what,
        std::string("boot a kernel with CONFIG_") + need.option);
  }
  if (facts.options.source.empty())
    say(out, std::string(kCheck), State::unknown,
        facts.kernel + ": how it was built is not told: no /proc/config.gz, no /boot/config-" + facts.kernel +
            ", no /lib/modules/" + facts.kernel + "/config",
        "");
  else if (!any)
    say(out, std::string(kCheck), State::ok,
        facts.kernel + " has all that forwarding in software needs (" + facts.options.source + ")");
}

void check_recirculation(const Facts& facts, Findings& out) {
  const auto has = facts.options.has("NET_TC_SKB_EXT");
  if (!has) {
    say(out, std::string(kCheck), State::unknown, "NET_TC_SKB_EXT, without which nothing is offloaded: not told",
        "look for CONFIG_NET_TC_SKB_EXT in the kernel's configuration");
  } else if (*has) {
    say(out, std::string(kCheck), State::ok,
        "NET_TC_SKB_EXT is set: first packets go on in software where hardware left them");
  } else if (version_of(facts.kernel) >= std::pair{6, 3}) {
    say(out, std::string(kCheck), State::fail,
        "this kernel cannot offload: built without NET_TC_SKB_EXT, and so without mlx5's tc offload (MLX5_CLS_ACT)",
        std::string(kOtherKernel));
  } else {
    say(out, std::string(kCheck), State::fail,
        "this kernel cannot offload: built without NET_TC_SKB_EXT, a packet that hardware hands up in the middle of "
        "the "
        "pipeline begins anew in software",
        std::string(kOtherKernel));
  }
}

void check_driver_options(const Facts& facts, Findings& out) {
  constexpr Need kDriver[] = {{"MLX5_ESWITCH", "switchdev mode"},
                              {"MLX5_CLS_ACT", "rules in hardware"},
                              {"MLX5_TC_CT", "connections in hardware"}};
  for (const Need& need : kDriver) {
    const auto has = facts.options.has(need.option);
    if (!has)
      say(out, std::string(kCheck), State::unknown, std::string(need.option) + ": not told", "");
    else if (!*has)
      say(out, std::string(kCheck), State::fail,
          std::string("built without ") + need.option + ": mlx5 has no " + need.what, std::string(kOtherKernel));
  }
  if (facts.options.has("NF_FLOW_TABLE_PROCFS") == false)
    say(out, std::string(kCheck), State::warn,
        "built without NF_FLOW_TABLE_PROCFS: how many connections wait for the NIC cannot be seen", "");
}

}  // namespace

std::optional<bool> KernelOptions::has(const std::string& option) const {
  if (!source.empty()) return settings.contains(option);
  const auto found = evidence.find(option);
  return found == evidence.end() ? std::nullopt : std::optional(found->second);
}

void check_kernel(const Facts& facts, Findings& out) {
  check_forwarding(facts, out);
  if (!facts.wants_nic()) return;
  check_recirculation(facts, out);
  // Another driver's options are its own affair.
  if (!facts.card || facts.card->driver.empty() || facts.card->driver == "mlx5_core") check_driver_options(facts, out);
}

}  // namespace sepal::agent::doctor
