// What reaches stderr, and what is said of lines that do not.
#include "base/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.hpp"

namespace sepal::log {
namespace {

class Log : public testing::Test {
 protected:
  ~Log() override { set_level(Level::info); }
};

TEST_F(Log, what_is_less_urgent_than_the_level_is_not_written) {
  set_level(Level::notice);
  testing::internal::CaptureStderr();
  notice("told", "one\ntwo");
  info("not-told", "three");
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("told: one two\n"), std::string::npos) << written;
  EXPECT_EQ(written.find("not-told"), std::string::npos) << written;
}

TEST_F(Log, a_record_is_written_whatever_the_level_is) {
  set_level(Level::error);
  testing::internal::CaptureStderr();
  EXPECT_TRUE(record("flow", "{}"));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("flow: {}\n"), std::string::npos);
}

TEST_F(Log, a_record_that_is_not_taken_is_no_written_one) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const UniqueFd before(::dup(STDERR_FILENO));
  ASSERT_TRUE(full.valid() && before.valid());
  ASSERT_GE(::dup2(full.get(), STDERR_FILENO), 0);
  const bool written = record("flow", "{}");
  ::dup2(before.get(), STDERR_FILENO);
  EXPECT_FALSE(written);
}

}  // namespace
}  // namespace sepal::log
