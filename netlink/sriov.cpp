#include "netlink/sriov.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>

#include "base/unique_fd.hpp"

namespace sepal::netlink {
namespace {

namespace fs = std::filesystem;

std::optional<uint16_t> read_number(const fs::path& file) {
  std::ifstream in(file);
  unsigned number = 0;
  if (!(in >> number) || number > UINT16_MAX) return std::nullopt;
  return static_cast<uint16_t>(number);
}

// The last part of what a symbolic link says; empty when there is none.
std::string link_target(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  return error ? std::string{} : target.filename().string();
}

std::vector<std::string> entries(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// "virtfn12" → 12
std::optional<uint16_t> vf_number(std::string_view name) {
  constexpr std::string_view kPrefix = "virtfn";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<Sriov> PciTree::read(std::string_view pci) const {
  const fs::path directory = function(pci);
  std::error_code error;
  if (pci.empty() || pci.find('/') != std::string_view::npos || !fs::exists(directory, error)) {
    return fail(Errc::not_found, "PCI function " + std::string(pci) + " does not exist");
  }
  if (const std::string physical = link_target(directory / "physfn"); !physical.empty()) {
    return fail(Errc::conflict, "PCI function " + std::string(pci) + " is a virtual one of " + physical);
  }
  Sriov sriov;
  sriov.driver = link_target(directory / "driver");
  sriov.netdevs = entries(directory / "net");
  sriov.total = read_number(directory / "sriov_totalvfs").value_or(0);
  sriov.count = read_number(directory / "sriov_numvfs").value_or(0);
  sriov.autoprobe = read_number(directory / "sriov_drivers_autoprobe").value_or(1) != 0;
  for (const std::string& name : entries(directory)) {
    const auto number = vf_number(name);
    const std::string address = number ? link_target(directory / name) : std::string{};
    if (address.empty()) continue;  // another entry, or a VF that left just now
    const fs::path vf = function(address);
    sriov.functions.emplace(*number, VirtualFunction{address, link_target(vf / "driver"), entries(vf / "net")});
  }
  return sriov;
}

Result<void> PciTree::write(const fs::path& file, std::string_view text) {
  const std::string doing = "write " + std::string(text) + " to " + file.string();
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, doing);
  ++writes_;
  // One call: sysfs takes each write as a whole value. A signal cannot cut it short once the kernel works on it.
  if (::write(fd.get(), text.data(), text.size()) < 0) return fail_errno(errno, doing);
  return {};
}

Result<void> PciTree::set_count(std::string_view pci, uint16_t count) {
  return write(function(pci) / "sriov_numvfs", std::to_string(count));
}

Result<void> PciTree::set_autoprobe(std::string_view pci, bool on) {
  return write(function(pci) / "sriov_drivers_autoprobe", on ? "1" : "0");
}

Result<void> PciTree::probe(std::string_view pci) { return write(sysfs_ / "bus/pci/drivers_probe", pci); }

Result<void> PciTree::unbind(std::string_view pci, std::string_view driver) {
  if (driver.empty() || driver.find('/') != std::string_view::npos)
    return fail(Errc::internal, "unbind from no driver");
  return write(sysfs_ / "bus/pci/drivers" / driver / "unbind", pci);
}

}  // namespace sepal::netlink
