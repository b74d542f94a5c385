// From an element of the model back to the place of one of its values. The model keeps one Location per element; when a
// fault is about one field of it, the field's own place is looked up in the documents, so a sound configuration pays
// nothing.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/document.hpp"

namespace sepal::config {

class Places {
 public:
  Places() = default;
  explicit Places(const std::vector<Document>& documents) : documents_(&documents) {}

  // The value under `key` of the map at `element`; `element` itself when there is no such map or key.
  [[nodiscard]] Location of(Location element, std::string_view key) const;
  // The item at `index` of the list under `key`, if the value is a list.
  [[nodiscard]] Location of(Location element, std::string_view key, size_t index) const;

 private:
  [[nodiscard]] NodeRef find(Location element, std::string_view key) const;
  void index_maps() const;

  const std::vector<Document>* documents_ = nullptr;
  mutable std::vector<std::unordered_map<uint64_t, NodeRef>> maps_;  // by document: place → map; made on first use
};

}  // namespace sepal::config
