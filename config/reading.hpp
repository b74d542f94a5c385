// One reading of a configuration in progress: files are added one by one, then the whole is judged. Shared by
// read_directory() and read_texts().
#pragma once

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

}  // namespace sepal::config
