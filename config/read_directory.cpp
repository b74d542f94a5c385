// Which files of a directory are read, and their bytes. Every file is opened before the size is asked, so that what is
// judged is what is read.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "config/reading.hpp"

namespace sepal::config {
namespace {

namespace fs = std::filesystem;

struct Trouble {
  std::string what;
  std::string hint;
};

tl::unexpected<Trouble> system_trouble(int error) {
  return tl::unexpected<Trouble>({std::string("cannot be read: ") + std::strerror(error),
                                  error == EACCES ? "let the agent's user read it" : "repair or remove it"});
}

tl::unexpected<Trouble> too_large() {
  return tl::unexpected<Trouble>({"larger than " + std::to_string(limits::kConfigFileBytesMax >> 20U) + " MiB",
                                  "split it, or remove what is not configuration"});
}

tl::expected<std::string, Trouble> read_bytes(int fd) {
  std::string text;
  std::array<char, 64UL << 10U> chunk;
  while (true) {
    ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_trouble(errno);
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<size_t>(got));
    if (text.size() > limits::kConfigFileBytesMax) return too_large();  // it grew while we read
  }
}

// Symbolic links are followed: mounted configuration often consists of them.
tl::expected<std::string, Trouble> read_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return system_trouble(errno);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return system_trouble(errno);
  if (!S_ISREG(status.st_mode)) {
    return tl::unexpected<Trouble>(
        {"is not a regular file", "remove or rename it; only .yaml and .yml files are read"});
  }
  if (status.st_size > static_cast<off_t>(limits::kConfigFileBytesMax)) return too_large();
  return read_bytes(fd.get());
}

// Not dotfiles, not an editor's backups.
bool is_configuration(const std::string& name) {
  return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
}

// sepal.yaml first, the others by name: so the Host is usually the first document.
void sort_names(std::vector<std::string>& names) {
  auto first = [](const std::string& name) { return name == "sepal.yaml" || name == "sepal.yml"; };
  std::sort(names.begin(), names.end(),
            [&](const std::string& a, const std::string& b) { return first(a) != first(b) ? first(a) : a < b; });
}

tl::expected<std::vector<std::string>, int> list(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    if (is_configuration(name)) names.push_back(std::move(name));
  }
  if (error) return tl::unexpected(error.value());
  sort_names(names);
  return names;
}

constexpr size_t kUnreadable = SIZE_MAX;

// Gives the files of one directory; returns how many there are.
size_t read_one_directory(const FileSinks& sinks, const std::string& directory, bool required, size_t files_before) {
  auto names = list(directory);
  if (!names) {
    if (names.error() == ENOENT && !required) return 0;
    sinks.unreadable(directory, std::string("cannot be read: ") + std::strerror(names.error()),
                     required ? "name the directory that holds sepal.yaml" : "repair or remove it");
    return required ? kUnreadable : 0;
  }
  for (size_t i = 0; i < names->size(); ++i) {
    if (files_before + i >= limits::kConfigFilesMax) {
      sinks.unreadable(directory, "more than " + std::to_string(limits::kConfigFilesMax) + " files",
                       "put several documents into one file, parted by ---");
      return i;
    }
    std::string path = directory + "/" + (*names)[i];
    auto text = read_file(path);
    if (text) {
      sinks.text(path, std::move(*text));
    } else {
      sinks.unreadable(path, text.error().what, text.error().hint);
    }
  }
  return names->size();
}

}  // namespace

std::string without_slashes(std::string directory) {
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  return directory;
}

void read_files(const std::string& directory, const FileSinks& sinks) {
  size_t files = read_one_directory(sinks, directory, true, 0);
  if (files != kUnreadable) files += read_one_directory(sinks, directory + "/tenants.d", false, files);
  if (files == 0) sinks.unreadable(directory, "no .yaml file in it", "name the directory that holds sepal.yaml");
}

ReadResult read_directory(const std::string& directory) {
  const std::string base = without_slashes(directory);
  Reading reading(base);
  read_files(base, {[&](const std::string& path, const std::string& text) { reading.add_text(path, text); },
                    [&](const std::string& path, const std::string& what, const std::string& hint) {
                      reading.add_unreadable(path, what, hint);
                    }});
  return reading.finish();
}

}  // namespace sepal::config
