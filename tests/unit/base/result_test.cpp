#include "base/result.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace sepal {
namespace {

TEST(Error, message_gives_doing_errno_and_the_kernels_words_in_that_order) {
  Error error{Errc::unsupported, EOPNOTSUPP, "add filter", "Decap with goto isn't supported"};
  EXPECT_EQ(error.message(), "add filter: Operation not supported: kernel says: Decap with goto isn't supported");
}

TEST(Error, message_without_any_detail_still_names_the_class) {
  EXPECT_EQ((Error{Errc::resync, 0, "", ""}).message(), "resync");
}

TEST(Error, context_is_put_before_what_is_known) {
  Error error = while_doing(while_doing(Error{Errc::internal, 0, "open", ""}, "read"), "reload");
  EXPECT_EQ(error.doing, "reload: read: open");
}

TEST(Error, errno_decides_what_the_caller_can_do) {
  EXPECT_EQ(errc_from_errno(EBUSY), Errc::transient);
  EXPECT_EQ(errc_from_errno(ENOENT), Errc::not_found);
  EXPECT_EQ(errc_from_errno(EEXIST), Errc::exists);
  EXPECT_EQ(errc_from_errno(EOPNOTSUPP), Errc::unsupported);
  EXPECT_EQ(errc_from_errno(EINVAL), Errc::internal);
}

}  // namespace
}  // namespace sepal
