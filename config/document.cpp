// libyaml's events → Document. Depth and number of nodes are bounded here, while the events come: libyaml reads ahead
// of an event by no more than the 1024 characters of a simple key.
#include "config/document.hpp"

#include <yaml.h>

#include <cstdio>
#include <new>

#include "base/limits.hpp"
#include "config/text_places.hpp"

namespace sepal::config {
namespace {

const std::string kSyntaxHint = "look at the indentation, the quotes and the brackets at this place and just before it";

// Owns what libyaml puts into an event.
struct Event {
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { yaml_event_delete(&raw); }

  yaml_event_t raw{};
};

class Parser {
 public:
  // `text` is borrowed, UTF-8 without byte order mark.
  explicit Parser(std::string_view text) {
    if (yaml_parser_initialize(&raw_) == 0) throw std::bad_alloc();
    yaml_parser_set_encoding(&raw_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&raw_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
  ~Parser() { yaml_parser_delete(&raw_); }

  // False: the text is not YAML from here on, and raw() says where and why.
  bool next(Event& event) {
    if (yaml_parser_parse(&raw_, &event.raw) != 0) return true;
    if (raw_.error == YAML_MEMORY_ERROR) throw std::bad_alloc();
    return false;
  }
  [[nodiscard]] const yaml_parser_t& raw() const { return raw_; }

 private:
  yaml_parser_t raw_{};
};

Location at(const yaml_mark_t& mark, TextPlaces& places) { return places.at({mark.index, mark.line, mark.column}); }

// Printable: the %-escapes of a tag can spell any byte, half a character included.
std::string in_ascii(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
      continue;
    }
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
    out += escaped;
  }
  return out;
}

bool is_null(std::string_view plain) {
  return plain.empty() || plain == "~" || plain == "null" || plain == "Null" || plain == "NULL";
}

class TreeBuilder {
 public:
  TreeBuilder(Document& document, TextPlaces& places, size_t& nodes_left, Faults& faults)
      : document_(document), places_(places), nodes_left_(nodes_left), faults_(faults) {}

  // False: the file is not to be read on; the fault is noted.
  bool take(const yaml_event_t& event) {
    switch (event.type) {
      case YAML_ALIAS_EVENT: return add_alias(place_of(event.start_mark));
      case YAML_SCALAR_EVENT: return add_scalar(place_of(event.start_mark), event.data.scalar);
      case YAML_SEQUENCE_START_EVENT:
        return open(place_of(event.start_mark), NodeKind::sequence, event.data.sequence_start);
      case YAML_MAPPING_START_EVENT: return open(place_of(event.start_mark), NodeKind::map, event.data.mapping_start);
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: open_.pop_back(); return true;
      case YAML_DOCUMENT_END_EVENT: roots_complete_ = document_.roots.size(); return true;
      default: return true;
    }
  }

  // What a fault leaves: the documents before it.
  void drop_incomplete() {
    document_.roots.resize(roots_complete_);
    document_.complete = false;
  }

  // The list or map that was not closed yet; line 0: there is none.
  [[nodiscard]] Location innermost() const {
    if (open_.empty()) return {};
    const Node& node = document_.nodes[open_.back().node];
    return {document_.file, node.line, node.column};
  }
  [[nodiscard]] bool is_behind_document() const { return open_.empty() && !document_.roots.empty(); }

 private:
  struct Open {
    uint32_t node = 0;
    uint32_t last_child = 0;
  };

  Location place_of(const yaml_mark_t& mark) { return at(mark, places_); }

  bool add_alias(Location place) {
    refuse_anchor(place);
    return append(place, NodeKind::refused);
  }

  template <typename Scalar>
  bool add_scalar(Location place, const Scalar& scalar) {
    if (scalar.anchor != nullptr) refuse_anchor(place);
    const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
    const bool quoted = scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!accept_tag(place, scalar.tag)) return append(place, NodeKind::refused);
    if (!quoted && is_null(text)) return append(place, NodeKind::null);
    if (!append(place, NodeKind::scalar)) return false;
    Node& node = document_.nodes.back();
    node.quoted = quoted;
    node.text_at = static_cast<uint32_t>(document_.text.size());
    node.text_size = static_cast<uint32_t>(text.size());
    document_.text += text;
    return true;
  }

  template <typename Start>
  bool open(Location place, NodeKind kind, const Start& start) {
    if (start.anchor != nullptr) refuse_anchor(place);
    if (!append(place, accept_tag(place, start.tag) ? kind : NodeKind::refused)) return false;
    if (open_.size() >= limits::kYamlDepthMax) {
      faults_.add(place, "nested deeper than " + std::to_string(limits::kYamlDepthMax) + " levels",
                  "no key of this configuration needs more than six");
      return false;
    }
    open_.push_back({static_cast<uint32_t>(document_.nodes.size() - 1), 0});
    return true;
  }

  bool append(Location place, NodeKind kind) {
    if (nodes_left_ == 0) {
      faults_.add(place, "more than " + std::to_string(limits::kYamlNodesMax) + " values in the configuration's files",
                  "nothing after this place was read; remove what is not configuration");
      return false;
    }
    --nodes_left_;
    link(static_cast<uint32_t>(document_.nodes.size()));
    document_.nodes.push_back(Node{.kind = kind, .line = place.line, .column = place.column});
    return true;
  }

  void link(uint32_t index) {
    if (open_.empty()) {
      document_.roots.push_back(index);
      return;
    }
    Open& parent = open_.back();
    uint32_t& from =
        parent.last_child == 0 ? document_.nodes[parent.node].child : document_.nodes[parent.last_child].next;
    from = index;
    parent.last_child = index;
  }

  // One line per file is enough: who uses one anchor uses many.
  void refuse_anchor(Location place) {
    faults_.note_silent();
    if (anchor_seen_) return;
    anchor_seen_ = true;
    faults_.add(place, "anchors (&name) and aliases (*name) are not supported", "write the value out");
  }

  bool accept_tag(Location place, const yaml_char_t* bytes) {
    if (bytes == nullptr) return true;
    const std::string_view tag = reinterpret_cast<const char*>(bytes);
    if (tag == "!") return true;
    faults_.add(place, "tag " + quoted(in_ascii(tag)) + " is not supported", "remove it; types follow from the keys");
    return false;
  }

  Document& document_;
  TextPlaces& places_;
  size_t& nodes_left_;
  Faults& faults_;
  std::vector<Open> open_;
  size_t roots_complete_ = 0;
  bool anchor_seen_ = false;
};

std::string_view line_of(std::string_view text, uint32_t line) {
  for (; line > 1; --line) {
    size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

bool indented_with_tab(std::string_view line) {
  size_t first = line.find_first_not_of(' ');
  return first != std::string_view::npos && line[first] == '\t';
}

// What libyaml missed, what it was reading then, and where that began if it is not the place of the fault.
std::string syntax_text(const yaml_parser_t& parser, Location where, Location innermost, TextPlaces& places) {
  std::string text = parser.problem == nullptr ? "the parser gives no reason" : parser.problem;
  if (parser.context == nullptr) return text;
  text += std::string(" ") + parser.context;
  // Here libyaml knows no beginning, and the bracket that was left open may be hundreds of lines above.
  const bool in_brackets = parser.context == std::string_view("while parsing a flow node");
  const Location begin = in_brackets ? innermost : at(parser.context_mark, places);
  if (begin.line == 0 || (begin.line == where.line && begin.column == where.column)) return text;
  return text + (in_brackets ? " inside what begins at " : " that begins at ") + std::to_string(begin.line) + ":" +
         std::to_string(begin.column);
}

std::string syntax_hint(std::string_view line, uint32_t column, std::string_view fault) {
  auto says = [&](std::string_view words) { return fault.find(words) != std::string_view::npos; };
  if (says("an anchor") || says("an alias")) return "write the value out; anchors and aliases are not supported";
  if (says("control characters")) return "remove it; only text belongs here";
  if (indented_with_tab(line)) return "indent with spaces, not with tabs";
  // Inside brackets libyaml takes a leading ':' for the end of a key, and a trailing one for a fault.
  const bool colon = column <= line.size() && line[column - 1] == ':';
  if (colon && (says("node content") || says("unexpected ':'"))) {
    return "inside [ ] and { } put what begins or ends with ':' in quotes, as \"::/0\"";
  }
  return kSyntaxHint;
}

void add_syntax_fault(std::string_view text, const yaml_parser_t& parser, const TreeBuilder& builder,
                      TextPlaces& places, Faults& faults) {
  // A fault of the reader, which runs ahead of the parser, has no mark.
  const bool by_reader = parser.error == YAML_READER_ERROR;
  const Location where = by_reader ? places.at_byte(parser.problem_offset) : at(parser.problem_mark, places);
  std::string fault = syntax_text(parser, where, builder.innermost(), places);
  if (builder.is_behind_document() && fault == "did not find expected <document start>") {
    fault = "unexpected text behind the end of a document";
  }
  std::string hint = syntax_hint(line_of(text, where.line), where.column, fault);
  faults.add(where, "not valid YAML: " + fault, std::move(hint));
}

}  // namespace

Document parse_document(std::string_view text, uint32_t file, size_t& nodes_left, Faults& faults) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  Document document;
  document.file = file;
  TextPlaces places(text, file);
  TreeBuilder builder(document, places, nodes_left, faults);
  Parser parser(text);
  while (true) {
    Event event;
    if (!parser.next(event)) {
      add_syntax_fault(text, parser.raw(), builder, places, faults);
      break;
    }
    if (event.raw.type == YAML_STREAM_END_EVENT) return document;
    if (!builder.take(event.raw)) break;
  }
  builder.drop_incomplete();
  return document;
}

}  // namespace sepal::config
