#include "config/places.hpp"

namespace sepal::config {
namespace {

uint64_t key_of(uint32_t line, uint32_t column) { return uint64_t{line} << 32U | column; }

}  // namespace

void Places::index_maps() const {
  maps_.resize(documents_->size());
  for (size_t d = 0; d < documents_->size(); ++d) {
    const Document& document = (*documents_)[d];
    for (uint32_t i = 1; i < document.nodes.size(); ++i) {
      const Node& node = document.nodes[i];
      if (node.kind == NodeKind::map) maps_[d].emplace(key_of(node.line, node.column), NodeRef(document, i));
    }
  }
}

NodeRef Places::find(Location element, std::string_view key) const {
  if (documents_ == nullptr) return {};
  if (maps_.empty()) index_maps();
  for (size_t d = 0; d < documents_->size(); ++d) {
    if ((*documents_)[d].file != element.file) continue;
    auto map = maps_[d].find(key_of(element.line, element.column));
    if (map == maps_[d].end()) return {};
    for (NodeRef name = map->second.child(); name; name = name.next().next()) {
      if (name.kind() == NodeKind::scalar && name.text() == key) return name.next();
    }
  }
  return {};
}

Location Places::of(Location element, std::string_view key) const {
  NodeRef value = find(element, key);
  return value ? value.where() : element;
}

Location Places::of(Location element, std::string_view key, size_t index) const {
  NodeRef value = find(element, key);
  if (!value) return element;
  if (value.kind() != NodeKind::sequence) return value.where();
  NodeRef item = value.child();
  for (; item && index > 0; --index) item = item.next();
  return item ? item.where() : value.where();
}

}  // namespace sepal::config
