// One reading of a configuration in progress: files are added one by one, then the whole is judged. Shared by
// read_directory() and read_texts().
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "config/documents.hpp"

namespace sepal::config {

class Reading {
 public:
  // `directory` names what faults of the whole are reported against; may be empty.
  explicit Reading(std::string directory) : directory_(std::move(directory)) {}

  void add_text(std::string name, std::string_view text);
  // A file or directory whose content could not be had. Its tenants are unknown from then on.
  void add_unreadable(std::string name, std::string what, std::string hint);
  ReadResult finish();
  // Of the budget over all files, see limits.hpp.
  [[nodiscard]] size_t nodes_left() const { return nodes_left_; }

 private:
  bool take_bytes(size_t size, uint32_t file);
  void add_document(NodeRef root);
  bool check_version(NodeRef root);
  void add_host(NodeRef root);
  Config assemble(Doubts& doubts);

  std::string directory_;
  Faults faults_;
  std::vector<Document> documents_;
  std::optional<HostReading> host_;
  std::vector<TenantReading> tenants_;
  bool incomplete_ = false;  // something was not read
  size_t nodes_left_ = limits::kYamlNodesMax;
  size_t bytes_left_ = limits::kConfigBytesMax;
};

// What the files of a directory are given to, in reading order.
struct FileSinks {
  std::function<void(const std::string& path, std::string text)> text;
  std::function<void(const std::string& path, const std::string& what, const std::string& hint)> unreadable;
};
void read_files(const std::string& directory, const FileSinks& sinks);
std::string without_slashes(std::string directory);

// Whether a document is plainly a tenant of this version: what a reading without faults makes of it is known then.
bool is_tenant_document(NodeRef root);
// The order of Config::tenants.
bool tenant_order(const Tenant& a, const Tenant& b);

}  // namespace sepal::config
