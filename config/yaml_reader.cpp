// Texts → Config: each file checked and parsed, each document sorted by its kind, then the rules across fields. A fault
// in one place stops nothing elsewhere.
#include <algorithm>
#include <tuple>

#include "config/places.hpp"
#include "config/reading.hpp"
#include "config/review.hpp"
#include "config/scalars.hpp"
#include "config/text_check.hpp"

namespace sepal::config {
namespace {

NodeRef value_of(NodeRef map, std::string_view key) {
  for (NodeRef name = map.child(); name; name = name.next().next()) {
    if (name.kind() == NodeKind::scalar && name.text() == key) return name.next();
  }
  return {};
}

bool is_text(NodeRef node, std::string_view text) { return node.kind() == NodeKind::scalar && node.text() == text; }

std::string found(NodeRef node) {
  return node.kind() == NodeKind::scalar ? quoted(node.text()) : describe(node.kind());
}

}  // namespace

void Reading::add_unreadable(std::string name, std::string what, std::string hint) {
  uint32_t file = faults_.add_file(std::move(name));
  faults_.add({file, 0, 0}, std::move(what), std::move(hint));
  incomplete_ = true;
}

void Reading::add_text(std::string name, std::string_view text) {
  uint32_t file = faults_.add_file(std::move(name));
  size_t before = faults_.progress();
  if (take_bytes(text.size(), file) && check_text(text, file, faults_)) {
    documents_.push_back(parse_document(text, file, nodes_left_, faults_));
    if (documents_.back().roots.empty() && documents_.back().complete) {
      faults_.add({file, 0, 0}, "the file holds no document",
                  "remove or rename it; only .yaml and .yml files are read");
    }
  }
  if (faults_.progress() != before) incomplete_ = true;
}

// False, once the files together have become too large.
bool Reading::take_bytes(size_t size, uint32_t file) {
  bool fits = size <= bytes_left_;
  if (!fits) {
    faults_.add({file, 0, 0},
                "the files together are larger than " + std::to_string(limits::kConfigBytesMax >> 20U) + " MiB",
                "remove what is not configuration");
  }
  bytes_left_ = fits ? bytes_left_ - size : 0;
  return fits;
}

void Reading::add_document(NodeRef root) {
  if (root.kind() == NodeKind::refused) return;
  if (root.kind() == NodeKind::null) {
    return faults_.add(root.where(), "empty document", "remove the --- line that begins it");
  }
  if (root.kind() != NodeKind::map) {
    faults_.add(root.where(), "expected a document of kind Host or Tenant, found " + describe(root.kind()),
                "begin it with apiVersion: sepal/v1 and kind: Tenant");
    incomplete_ = true;
    return;
  }
  if (!check_version(root)) return;
  NodeRef kind = value_of(root, "kind");
  if (kind && is_text(kind, "Host")) return add_host(root);
  if (kind && is_text(kind, "Tenant")) {
    tenants_.push_back(read_tenant(root, faults_));
    return;
  }
  faults_.add(kind ? kind.where() : root.where(), kind ? "unknown kind " + found(kind) : "the document has no kind",
              "write kind: Host or kind: Tenant");
  incomplete_ = true;
}

// False: the document is of another version, whose keys this one cannot judge.
bool Reading::check_version(NodeRef root) {
  NodeRef version = value_of(root, "apiVersion");
  if (!version) {
    faults_.add(root.where(), "the document has no apiVersion", "add apiVersion: sepal/v1");
    return true;
  }
  if (is_text(version, "sepal/v1")) return true;
  faults_.add(version.where(), "unknown apiVersion " + found(version), "write apiVersion: sepal/v1");
  incomplete_ = true;
  return false;
}

void Reading::add_host(NodeRef root) {
  HostReading reading = read_host(root, faults_);
  if (!host_) {
    host_ = std::move(reading);
    return;
  }
  faults_.add(root.where(), "a second document of kind Host (the first is at " + faults_.place(host_->host.where) + ")",
              "one directory describes one hypervisor; keep one");
}

// Tenants in the order of their VNIs, doubts beside them.
Config Reading::assemble(Doubts& doubts) {
  std::sort(tenants_.begin(), tenants_.end(),
            [](const TenantReading& a, const TenantReading& b) { return tenant_order(a.tenant, b.tenant); });
  Config config;
  config.files = faults_.files();
  doubts.documents = incomplete_;
  doubts.host = host_ ? host_->doubts : HostDoubts{true, true, true, true};
  if (host_) config.host = std::move(host_->host);
  for (TenantReading& reading : tenants_) {
    config.tenants.push_back(std::move(reading.tenant));
    doubts.tenants.push_back(reading.doubts);
  }
  return config;
}

ReadResult Reading::finish() {
  for (const Document& document : documents_) {
    for (uint32_t root : document.roots) add_document({document, root});
  }
  if (!host_ && !incomplete_) {
    faults_.add({faults_.add_file(directory_), 0, 0}, "no document of kind Host",
                "add one that describes this hypervisor: kind: Host, underlay: {device: …, address: …}");
  }
  Doubts doubts;
  Config config = assemble(doubts);
  Places places(documents_);
  Review review{config, doubts, places, faults_};
  validate(review);
  if (!faults_.empty()) return tl::unexpected(faults_.take());
  return config;
}

bool tenant_order(const Tenant& a, const Tenant& b) {
  auto key = [](const Tenant& t) { return std::tie(t.vni, t.where.file, t.where.line, t.where.column); };
  return key(a) < key(b);
}

bool is_tenant_document(NodeRef root) {
  if (root.kind() != NodeKind::map) return false;
  const NodeRef version = value_of(root, "apiVersion");
  const NodeRef kind = value_of(root, "kind");
  return version && kind && is_text(version, "sepal/v1") && is_text(kind, "Tenant");
}

ReadResult read_texts(const std::vector<SourceText>& sources) {
  Reading reading("");
  for (const SourceText& source : sources) reading.add_text(source.name, source.text);
  return reading.finish();
}

}  // namespace sepal::config
