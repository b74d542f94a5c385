// Which files changed, and whether what they say now fits what the others say.
#include "config/directory.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/digest.hpp"
#include "config/reading.hpp"
#include "config/review.hpp"
#include "config/text_check.hpp"

namespace sepal::config {
namespace {

uint64_t digest_of_text(const std::string& text) {
  Digest digest;
  digest.add_bytes(text.data(), text.size());
  return digest.value();
}

// Config::files keeps the names of files that left, so that places in others stay true: not without end.
constexpr size_t kSpareNamesMax = 64;

}  // namespace

ConfigDirectory::ConfigDirectory(std::string path) : path_(without_slashes(std::move(path))) {}

tl::expected<void, std::vector<Fault>> ConfigDirectory::read() {
  if (!config_) return read_whole();
  std::vector<NewText> changed;
  std::set<std::string> seen;
  bool readable = true;
  read_files(path_,
             {[&](const std::string& path, std::string text) {
                seen.insert(seen.end(), path);
                File file{0, digest_of_text(text), text.size(), 0};
                const auto known = files_.find(path);
                if (known != files_.end() && known->second.digest == file.digest && known->second.size == file.size)
                  return;
                changed.push_back({path, std::move(text), file});
              },
              [&](const std::string&, const std::string&, const std::string&) { readable = false; }});
  std::vector<std::string> gone;
  for (const auto& [path, file] : files_)
    if (!seen.contains(path)) gone.push_back(path);
  if (readable && changed.empty() && gone.empty()) return {};
  if (readable && take_changes(changed, gone)) return {};
  return read_whole();
}

tl::expected<void, std::vector<Fault>> ConfigDirectory::read_whole() {
  std::map<std::string, File> files;
  Reading reading(path_);
  uint32_t index = 0;
  read_files(path_, {[&](const std::string& path, const std::string& text) {
                       const size_t before = reading.nodes_left();
                       reading.add_text(path, text);
                       files[path] = {index++, digest_of_text(text), text.size(), before - reading.nodes_left()};
                     },
                     [&](const std::string& path, const std::string& what, const std::string& hint) {
                       reading.add_unreadable(path, what, hint);
                       ++index;
                     }});
  auto config = reading.finish();
  if (!config) return tl::unexpected(std::move(config.error()));
  config_ = std::move(*config);
  files_ = std::move(files);
  return {};
}

// False: nothing is changed, and reading the whole must tell what there is to tell.
bool ConfigDirectory::take_changes(std::vector<NewText>& texts, const std::vector<std::string>& gone) {
  if (config_->files.size() > 2 * files_.size() + kSpareNamesMax) return false;
  std::vector<std::string> names = config_->files;
  std::map<std::string, File> files = files_;
  std::vector<bool> changed(names.size() + texts.size(), false);
  for (const std::string& path : gone) {
    changed[files.at(path).index] = true;
    files.erase(path);
  }
  for (NewText& one : texts) {
    const auto known = files.find(one.path);
    one.file.index = known != files.end() ? known->second.index : static_cast<uint32_t>(names.size());
    if (known == files.end()) names.push_back(one.path);
    changed[one.file.index] = true;
    files.erase(one.path);
  }
  if (changed[config_->host.where.file]) return false;
  size_t bytes = 0;
  size_t nodes = 0;
  for (const auto& [path, file] : files) {
    bytes += file.size;
    nodes += file.nodes;
  }
  for (const NewText& one : texts) bytes += one.file.size;
  if (bytes > limits::kConfigBytesMax || nodes > limits::kYamlNodesMax) return false;
  auto fresh = read_tenants(texts, limits::kYamlNodesMax - nodes);
  if (!fresh) return false;
  for (const NewText& one : texts) files[one.path] = one.file;

  // In place, so that a change does not copy the world; taken back when it does not hold.
  std::vector<Tenant>& tenants = config_->tenants;
  auto of_changed = [&changed](const Tenant& tenant) { return changed[tenant.where.file]; };
  const auto move_out = [&](std::vector<Tenant>& to) {
    const auto from = std::stable_partition(tenants.begin(), tenants.end(), std::not_fn(of_changed));
    std::move(from, tenants.end(), std::back_inserter(to));
    tenants.erase(from, tenants.end());
  };
  const auto move_in = [&](std::vector<Tenant>& from) {
    std::move(from.begin(), from.end(), std::back_inserter(tenants));
    std::sort(tenants.begin(), tenants.end(), tenant_order);
  };
  std::vector<Tenant> before;
  move_out(before);
  move_in(*fresh);
  std::swap(config_->files, names);
  if (holds(changed)) {
    files_ = std::move(files);
    return true;
  }
  std::swap(config_->files, names);
  std::vector<Tenant> refused;
  move_out(refused);
  move_in(before);
  return false;
}

// nullopt: something in these texts is not plainly a tenant.
std::optional<std::vector<Tenant>> ConfigDirectory::read_tenants(std::vector<NewText>& texts, size_t nodes_left) const {
  std::vector<Tenant> tenants;
  Faults faults;
  for (NewText& one : texts) {
    if (!check_text(one.text, one.file.index, faults)) return std::nullopt;
    const size_t before = nodes_left;
    const Document document = parse_document(one.text, one.file.index, nodes_left, faults);
    one.file.nodes = before - nodes_left;
    if (document.roots.empty()) return std::nullopt;
    for (const uint32_t root : document.roots) {
      if (!is_tenant_document({document, root})) return std::nullopt;
      tenants.push_back(read_tenant({document, root}, faults).tenant);
    }
    if (!faults.empty() || faults.progress() > 0) return std::nullopt;
  }
  return tenants;
}

// Whether the configuration is valid, when it was so but for the tenants of these files.
bool ConfigDirectory::holds(const std::vector<bool>& changed_files) const {
  const std::vector<Tenant>& tenants = config_->tenants;
  std::set<std::string> changed;
  for (const Tenant& tenant : tenants)
    if (changed_files[tenant.where.file]) changed.insert(tenant.name);
  std::vector<bool> fresh(tenants.size());
  for (size_t i = 0; i < tenants.size(); ++i) {
    const auto& peers = tenants[i].peers;
    fresh[i] = changed_files[tenants[i].where.file] ||
               std::any_of(peers.begin(), peers.end(), [&](const auto& peer) { return changed.contains(peer); });
  }
  Faults faults;
  for (const std::string& file : config_->files) faults.add_file(file);
  Doubts doubts;
  doubts.tenants.resize(tenants.size());
  const Places places;
  Review review{*config_, doubts, places, faults, &fresh};
  validate(review);
  return faults.empty();
}

}  // namespace sepal::config
