// Lines of words, one fact each, so that no JSON parser is needed for it:
//   sepal-state 2
//   tenant VNI ZONE
//   served VNI PREFIX [vfNUMBER|DEVICE]
//   judged VNI SPACE
//   mac VNI MAC vfNUMBER|DEVICE
//   gateway ADDRESS MAC
//   way VTEP NEXT-HOP IFINDEX OWN-MAC GENERATION
#include "agent/state.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "base/limits.hpp"
#include "base/unique_fd.hpp"

namespace sepal::agent {
namespace {

constexpr std::string_view kHeader = "sepal-state 2";
constexpr std::string_view kHeader1 = "sepal-state 1";  // where a port sits was PORT@SEAT

std::optional<uint32_t> read_number(const std::string& text, uint32_t max) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0 || number > max) return std::nullopt;
  return number;
}

bool read_way(const std::string& vtep, const std::string& hop, std::istringstream& words, SavedState& state) {
  const auto to = IpAddr::parse(vtep);
  const auto address = IpAddr::parse(hop);
  uint32_t device = 0;
  std::string mac_text;
  unsigned generation = 0;
  if (!(words >> device >> mac_text >> generation) || generation >= tc::kTunnelGenerations) return false;
  const auto mac = MacAddr::parse(mac_text);
  if (!to || !address || !mac) return false;
  state.ways[*to] = {{IfIndex(device), *address, *mac}, static_cast<uint8_t>(generation)};
  return true;
}

bool read_line(const std::string& line, bool of_version_1, SavedState& state) {
  std::istringstream words(line);
  std::string kind;
  std::string first;
  std::string second;
  if (!(words >> kind >> first >> second)) return false;
  if (kind == "gateway") {
    const auto address = IpAddr::parse(first);
    const auto mac = MacAddr::parse(second);
    if (!address || !mac) return false;
    state.gateways[*address] = *mac;
    return true;
  }
  if (kind == "way") return read_way(first, second, words, state);
  const auto vni = read_number(first, limits::kVniMax);
  if (!vni) return false;
  if (kind == "tenant") {
    const auto zone = read_number(second, 0xffff);
    if (zone) state.tenants[Vni(*vni)].zone = Zone(static_cast<uint16_t>(*zone));
    return zone.has_value();
  }
  const auto tenant = state.tenants.find(Vni(*vni));
  if (kind == "judged") {
    if (tenant == state.tenants.end()) return false;
    const auto [end, error] = std::from_chars(second.data(), second.data() + second.size(), tenant->second.judged, 16);
    return error == std::errc() && end == second.data() + second.size();
  }
  if (kind == "mac") {
    const auto mac = MacAddr::parse(second);
    std::string seat;
    if (!mac || tenant == state.tenants.end() || !(words >> seat)) return false;
    tenant->second.macs.emplace(std::move(seat), *mac);
    return true;
  }
  const auto prefix = IpPrefix::parse(second);
  if (kind != "served" || !prefix || tenant == state.tenants.end()) return false;
  std::string port;
  words >> port;
  if (of_version_1) port.erase(0, port.find('@') + 1);
  tenant->second.served.emplace(*prefix, std::move(port));
  return true;
}

std::string hex(uint64_t number) {
  std::array<char, 17> text{};
  std::to_chars(text.data(), text.data() + text.size() - 1, number, 16);
  return text.data();
}

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "write " + path);
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

SavedState load_state(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line) || (line != kHeader && line != kHeader1)) return {};
  const bool of_version_1 = line == kHeader1;
  SavedState state;
  while (std::getline(file, line))
    if (!read_line(line, of_version_1, state)) return {};
  return state;
}

Result<void> save_state(const std::string& path, const SavedState& state) {
  std::string text(kHeader);
  text += '\n';
  for (const auto& [vni, tenant] : state.tenants) {
    const std::string number = std::to_string(vni.value());
    text += "tenant " + number + " " + std::to_string(tenant.zone.value()) + "\n";
    for (const auto& [prefix, port] : tenant.served)
      text += "served " + number + " " + prefix.to_string() + (port.empty() ? "" : " " + port) + "\n";
    for (const auto& [seat, mac] : tenant.macs) text += "mac " + number + " " + mac.to_string() + " " + seat + "\n";
    if (tenant.judged != 0) text += "judged " + number + " " + hex(tenant.judged) + "\n";
  }
  for (const auto& [address, mac] : state.gateways)
    text += "gateway " + address.to_string() + " " + mac.to_string() + "\n";
  for (const auto& [vtep, way] : state.ways) {
    text += "way " + vtep.to_string() + " " + way.hop.address.to_string() + " " +
            std::to_string(way.hop.device.value()) + " " + way.hop.own_mac.to_string() + " " +
            std::to_string(way.generation) + "\n";
  }
  return replace_file(path, text);
}

Result<void> replace_file(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_errno(errno, "open " + fresh);
  if (auto written = write_all(fd.get(), text, fresh); !written) return written;
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, "rename " + fresh);
  return {};
}

}  // namespace sepal::agent
