// The tunnel device, made, looked at and taken away on the running kernel.
#include "real_kernel.hpp"
#include "tests/support/forwarding_transport.hpp"

namespace sepal::netlink {
namespace {

// Lets writes through up to a point, then fails: what a kill -9 between two messages leaves behind.
class DyingTransport : public test::ForwardingTransport {
 public:
  DyingTransport(Transport& real, uint64_t writes_left) : ForwardingTransport(real), writes_left_(writes_left) {}
  Result<void> transact(Bytes& requests, const Answered& answered) override {
    if (writes_left_ == 0) return fail(Errc::resync, "killed");
    --writes_left_;
    return ForwardingTransport::transact(requests, answered);
  }

 private:
  uint64_t writes_left_;
};

class RealVxlan : public RealKernel {
 protected:
  void SetUp() override {
    RealKernel::SetUp();
    if (!run("ip link add probe type vxlan external dstport 4790")) GTEST_SKIP() << "this kernel has no vxlan";
    ASSERT_TRUE(run("ip link del probe"));
  }
  VxlanWanted wanted_{.name = "sepal-vxlan", .instance = "blue", .port = 4789, .mtu = 8950};
};

TEST_F(RealVxlan, is_made_complete_and_a_second_look_writes_nothing) {
  auto made = ensure_vxlan(*route_, wanted_);
  ASSERT_TRUE(made) << made.error().message();
  auto link = get_link(*route_, wanted_.name);
  ASSERT_TRUE(link);
  EXPECT_EQ(link->index, *made);
  EXPECT_EQ(link->kind, "vxlan");
  EXPECT_EQ(link->alias, "sepal:blue");
  EXPECT_EQ(link->mtu, 8950U);
  EXPECT_TRUE(link->up);
  EXPECT_EQ(link->vxlan, (VxlanAttrs{4789, true, false, true, true}));
  EXPECT_EQ(check_vxlan(*list_links(*route_), wanted_).state, VxlanState::ours);

  const uint64_t before = route_->writes();
  EXPECT_EQ(*ensure_vxlan(*route_, wanted_), *made);
  EXPECT_EQ(route_->writes(), before);
}

TEST_F(RealVxlan, half_made_by_a_kill_is_finished_by_the_next_start) {
  DyingTransport dying(*route_, 1);
  ASSERT_FALSE(ensure_vxlan(dying, wanted_));
  ASSERT_TRUE(get_link(*route_, wanted_.name));
  EXPECT_EQ(check_vxlan(*list_links(*route_), wanted_).state, VxlanState::unfinished);
  ASSERT_TRUE(ensure_vxlan(*route_, wanted_));
  EXPECT_EQ(check_vxlan(*list_links(*route_), wanted_).state, VxlanState::ours);
}

TEST_F(RealVxlan, an_mtu_changed_by_hand_is_set_again) {
  ASSERT_TRUE(ensure_vxlan(*route_, wanted_));
  ASSERT_TRUE(run("ip link set sepal-vxlan mtu 1400"));
  ASSERT_TRUE(ensure_vxlan(*route_, wanted_));
  EXPECT_EQ(get_link(*route_, wanted_.name)->mtu, 8950U);
}

TEST_F(RealVxlan, somebody_elses_device_of_that_name_is_a_conflict_and_stays) {
  for (const char* make :
       {"ip link add sepal-vxlan type veth peer name c", "ip link add sepal-vxlan type vxlan id 5 dstport 4789"}) {
    ASSERT_TRUE(run(make));
    auto made = ensure_vxlan(*route_, wanted_);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Errc::conflict) << made.error().message();
    EXPECT_EQ(delete_vxlan(*route_, wanted_.name, wanted_.instance).error().code, Errc::conflict);
    EXPECT_TRUE(get_link(*route_, wanted_.name));
    ASSERT_TRUE(run("ip link del sepal-vxlan"));
  }
}

TEST_F(RealVxlan, ours_with_another_port_is_wrong_until_it_is_removed) {
  ASSERT_TRUE(ensure_vxlan(*route_, wanted_));
  wanted_.port = 8472;
  EXPECT_EQ(ensure_vxlan(*route_, wanted_).error().code, Errc::conflict);
  EXPECT_TRUE(*delete_vxlan(*route_, wanted_.name, wanted_.instance));
  ASSERT_TRUE(ensure_vxlan(*route_, wanted_));
  EXPECT_EQ(get_link(*route_, wanted_.name)->vxlan->port, 8472);
}

// With our flags it holds the port from the moment it is made, with others only while it is up: which is why both stand
// here, and in a fixed state.
TEST_F(RealVxlan, a_second_external_device_on_the_same_port_is_refused_and_named) {
  ASSERT_TRUE(run("ip link add rival type vxlan external dstport 4789 udp6zerocsumtx udp6zerocsumrx"));
  auto made = ensure_vxlan(*route_, wanted_);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::conflict);
  EXPECT_NE(made.error().message().find("UDP port 4789 is taken by vxlan device rival"), std::string::npos)
      << made.error().message();
  EXPECT_EQ(get_link(*route_, wanted_.name).error().code, Errc::not_found);
  EXPECT_TRUE(get_link(*route_, "rival")) << "it is not ours to remove";
  ASSERT_TRUE(run("ip link del rival"));
  EXPECT_TRUE(ensure_vxlan(*route_, wanted_));
}

TEST_F(RealVxlan, a_device_that_is_up_on_the_port_is_named_when_ours_is_to_be_set_up) {
  for (const char* make :
       {"ip link add rival type vxlan external dstport 4789", "ip link add rival type vxlan id 5 dstport 4789"}) {
    ASSERT_TRUE(run(make));
    ASSERT_TRUE(run("ip link set rival up"));
    auto made = ensure_vxlan(*route_, wanted_);
    ASSERT_FALSE(made) << make;
    EXPECT_EQ(made.error().code, Errc::conflict) << make;
    EXPECT_NE(made.error().message().find("UDP port 4789 is taken by vxlan device rival"), std::string::npos)
        << made.error().message();
    ASSERT_TRUE(run("ip link del rival"));
    EXPECT_TRUE(ensure_vxlan(*route_, wanted_)) << "what was begun is finished";
    EXPECT_TRUE(*delete_vxlan(*route_, wanted_.name, wanted_.instance));
  }
}

TEST_F(RealVxlan, deleting_leaves_nothing_and_deleting_again_is_no_failure) {
  ASSERT_TRUE(ensure_vxlan(*route_, wanted_));
  EXPECT_TRUE(*delete_vxlan(*route_, wanted_.name, wanted_.instance));
  EXPECT_EQ(get_link(*route_, wanted_.name).error().code, Errc::not_found);
  EXPECT_FALSE(*delete_vxlan(*route_, wanted_.name, wanted_.instance));
}

}  // namespace
}  // namespace sepal::netlink
