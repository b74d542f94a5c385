// The record as JSON: {"version": 1, "pci", "boot", "count"?, "autoprobe", "mode"?, "inline"?, "encap"?, "params",
// "uplink_up"?, "uplink_offload"?, "ready"?, "fell_back"?, "functions": [{"vf", "driver"?, "mac"?}]}
#include "agent/nic_record.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/unique_fd.hpp"

namespace sepal::agent {
namespace {

namespace fs = std::filesystem;
using netlink::EswitchMode;
using netlink::InlineMode;
using netlink::ParamValue;
using nlohmann::json;

json value_json(const ParamValue& value) {
  return std::visit([](const auto& v) { return json(v); }, value);
}

ParamValue read_value(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return value.get<std::string>();
  return value.get<uint32_t>();
}

json to_json(const NicRecord& record) {
  json out{{"version", 1}, {"pci", record.pci}, {"boot", record.boot}, {"autoprobe", record.autoprobe}};
  if (record.count) out["count"] = *record.count;
  if (record.eswitch.mode) out["mode"] = static_cast<unsigned>(*record.eswitch.mode);
  if (record.eswitch.inline_mode) out["inline"] = static_cast<unsigned>(*record.eswitch.inline_mode);
  if (record.eswitch.encap) out["encap"] = *record.eswitch.encap;
  if (record.uplink_up) out["uplink_up"] = *record.uplink_up;
  if (record.uplink_offload) out["uplink_offload"] = *record.uplink_offload;
  if (record.ready) out["ready"] = true;
  if (record.fell_back) out["fell_back"] = true;
  out["params"] = json::object();
  for (const auto& [name, value] : record.params) out["params"][name] = value_json(value);
  out["functions"] = json::array();
  for (const auto& [vf, driver] : record.drivers) {
    json function{{"vf", vf}, {"driver", driver}};
    if (const auto mac = record.macs.find(vf); mac != record.macs.end()) function["mac"] = mac->second.to_string();
    out["functions"].push_back(std::move(function));
  }
  return out;
}

template <typename T>
std::optional<T> get_optional(const json& from, const char* name) {
  const auto found = from.find(name);
  if (found == from.end()) return std::nullopt;
  return found->get<T>();
}

// Throws json::exception, or std::out_of_range, on anything that is not as written above.
NicRecord from_json(const json& from) {
  if (from.at("version").get<int>() != 1) throw std::out_of_range("version");
  NicRecord record;
  record.pci = from.at("pci").get<std::string>();
  record.boot = from.at("boot").get<std::string>();
  record.count = get_optional<uint16_t>(from, "count");
  record.autoprobe = from.at("autoprobe").get<bool>();
  if (const auto mode = get_optional<unsigned>(from, "mode")) {
    if (*mode > static_cast<unsigned>(EswitchMode::switchdev)) throw std::out_of_range("mode");
    record.eswitch.mode = static_cast<EswitchMode>(*mode);
  }
  if (const auto mode = get_optional<unsigned>(from, "inline")) {
    if (*mode > static_cast<unsigned>(InlineMode::transport)) throw std::out_of_range("inline");
    record.eswitch.inline_mode = static_cast<InlineMode>(*mode);
  }
  record.eswitch.encap = get_optional<bool>(from, "encap");
  record.uplink_up = get_optional<bool>(from, "uplink_up");
  record.uplink_offload = get_optional<bool>(from, "uplink_offload");
  record.ready = get_optional<bool>(from, "ready").value_or(false);
  record.fell_back = get_optional<bool>(from, "fell_back").value_or(false);
  for (const auto& [name, value] : from.at("params").items()) record.params.emplace(name, read_value(value));
  for (const json& function : from.at("functions")) {
    const auto vf = function.at("vf").get<uint16_t>();
    record.drivers.emplace(vf, function.at("driver").get<std::string>());
    const auto text = get_optional<std::string>(function, "mac");
    if (!text) continue;
    const auto mac = MacAddr::parse(*text);
    if (!mac) throw std::out_of_range("mac");
    record.macs.emplace(vf, *mac);
  }
  return record;
}

Result<void> write_file(const std::string& path, std::string_view text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return fail_errno(errno, "open " + path);
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "write " + path);
    text.remove_prefix(static_cast<size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return fail_errno(errno, "sync " + path);
  return {};
}

Result<void> sync_directory(const fs::path& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) return fail_errno(errno, "sync " + directory.string());
  return {};
}

}  // namespace

NicRecord remember(const NicState& now, const NicWanted& wanted, const std::string& boot, const NicRecord* before) {
  NicRecord record;
  if (before != nullptr) {
    record = *before;
  } else {
    record.pci = now.pci;
    record.boot = boot;
    if (wanted.count) record.count = now.count;
    record.autoprobe = now.autoprobe;
    record.eswitch = now.eswitch;
    record.params = now.params;
    if (now.uplink && now.uplink->device) {
      record.uplink_up = now.uplink->device->up;
      record.uplink_offload = now.uplink->device->offload.on;
    }
  }
  record.fell_back = wanted.fell_back;
  // Once the number of VFs is ours and was changed, those there are have nothing to do with those there were.
  if (before != nullptr && (record.count || wanted.count)) return record;
  for (const auto& [vf, function] : now.functions) {
    if (!wanted.count && !wanted.vfs.contains(vf)) continue;
    if (!record.drivers.emplace(vf, function.driver).second) continue;
    const auto port = now.representors.find(vf);
    if (port != now.representors.end() && port->second.function_mac)
      record.macs.emplace(vf, *port->second.function_mac);
  }
  return record;
}

std::string record_path(const std::string& directory, const std::string& pci) {
  return directory + "/nic-" + pci + ".json";
}

Result<std::optional<NicRecord>> load_record(const std::string& path, const std::string& boot) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  try {
    NicRecord record = from_json(json::parse(text.str()));
    if (record.boot != boot) return std::nullopt;
    return record;
  } catch (const std::exception& error) {
    return fail(Errc::protocol, "record " + path + " is damaged (" + error.what() +
                                    "); remove it, and what the NIC was before is forgotten");
  }
}

Result<void> save_record(const std::string& path, const NicRecord& record) {
  const fs::path directory = fs::path(path).parent_path();
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail_errno(error.value(), "make " + directory.string());
  const std::string fresh = path + ".new";
  if (auto written = write_file(fresh, to_json(record).dump(2) + "\n"); !written) return written;
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, "rename " + fresh);
  return sync_directory(directory);
}

Result<void> remove_record(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove " + path);
  return {};
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

}  // namespace sepal::agent
