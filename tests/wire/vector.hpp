// Captured netlink messages as text files (made by capture.sh): comment lines, then bytes in hexadecimal, each line
// with a note behind '#'. And their attributes as a tree, in which order within a nest and the nested flag carry no
// meaning.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sepal::wire {

struct Vector {
  std::string name;
  std::string command;  // what made it
  std::vector<uint8_t> bytes;
};

// All vectors of a folder below tests/wire, sorted by name.
std::vector<Vector> load_vectors(const std::string& folder);
// "name: text" lines of a file below tests/wire.
std::vector<std::pair<std::string, std::string>> load_lines(const std::string& file);

struct Node {
  uint16_t type = 0;
  std::vector<uint8_t> payload;  // of a leaf
  std::vector<Node> children;    // of a nest
  bool is_nest = false;

  Node* child(uint16_t child_type);
  void remove(uint16_t child_type);
};

// A tc message: its fixed header as a leaf of type 0, then its attributes. Nests are known by their place.
Node parse_tree(const std::vector<uint8_t>& message);
// The same of a message about actions as objects (RTM_NEWACTION).
Node parse_action_tree(const std::vector<uint8_t>& message);
// One line for each leaf, "2.3.1.2.2 = 0000…", sorted; equal text means equal trees.
std::string to_text(const Node& tree);

}  // namespace sepal::wire
