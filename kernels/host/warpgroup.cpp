// Warpgroups: four warps that meet at wgmma and what goes with it, and the products they give away.
//
// A product reads its operands from shared memory until the group of products it belongs to has been waited for, and
// holds the accumulators until then: threads that look at them find NaN (checked build), and what they write is lost.
#include "block.hpp"

namespace emu {

void Worker::meet_group(GroupCollective what, Site site, void* payload, void (*complete)(void* const payloads[GROUP])) {
  if (!launch_->kernel->cluster) fail("warpgroup instructions in a kernel that is not one for clusters");
  Warpgroup& group = group_now();
  now().passed = site;
  const bool same_place = group.meeting.line == site.line && strcmp(group.meeting.file, site.file) == 0;
  if (group.arrived && (group.what != what || !same_place))
    fail_waiting("threads of one warpgroup diverge: this one is elsewhere");
  group.what = what;
  group.meeting = site;
  group.payloads[now().slot % GROUP] = payload;
  if (++group.arrived < GROUP) {
    suspend();
    return wait_turn();
  }
  group.arrived = 0;
  const uint32_t first = now().slot / GROUP * GROUP;
  for (uint32_t warp = first / 32; warp < (first + GROUP) / 32; warp++) {
    if (~warps_[warp].live) fail_waiting("a warpgroup with fewer than 128 running threads");
    warps_[warp].ready = warps_[warp].live;
  }
  complete(group.payloads);
  give_way();
}

void Worker::group_fence() {
  Warpgroup& group = group_now();
  group.fenced = true;
  if (options_.checked) group.known = order_.common(now().slot / GROUP * GROUP, GROUP);
}

// Thread t of the warpgroup holds, as element e of its accumulators, row and column:
static uint32_t row_of(uint32_t t, uint32_t e) { return t / 32 * 16 + t % 32 / 4 + (e >> 1 & 1) * 8; }
static uint32_t column_of(uint32_t t, uint32_t e) { return e / 4 * 8 + t % 4 * 2 + (e & 1); }

void Worker::group_product(const Product& product) {
  Warpgroup& group = group_now();
  if (!group.fenced) fail("wgmma with no wgmma_fence before it in its group");
  if (!group.products.empty() && group.products[0].accumulators[0] != product.accumulators[0])
    fail("wgmma on other accumulators than those under way");
  if (options_.checked) {
    struct Context {
      Worker* worker;
      Accessor who;
    } context{this,
              {Access::Read, runs_, cluster_, group.actor, group.groups, NO_THREAD, true, &group.known}};
    product.operands(product, &context, [](void* at, uint32_t offset) {
      auto* context = static_cast<Context*>(at);
      Worker& worker = *context->worker;
      worker.check_shared(worker.block_now(), offset + SHARED_BASE, 16, 16, context->who);
    });
  }
  if (!group.holds_sums) {
    group.holds_sums = true;
    group.sums.resize(64 * size_t{product.columns});
    for (uint32_t t = 0; t < GROUP; t++) {
      for (uint32_t e = 0; e < product.columns / 2; e++) {
        float& d = product.accumulators[t][e];
        group.sums[row_of(t, e) * product.columns + column_of(t, e)] = d;
        if (options_.checked) d = std::numeric_limits<float>::quiet_NaN();
      }
    }
  }
  group.products.push_back(product);
  group.products.back().group = group.groups;
  if (options_.delivery == Delivery::AtOnce) carry_out_products(group, group.products.size());
}

// The oldest `count` that have not been computed; they stay in the list, without a function, until waited for.
void Worker::carry_out_products(Warpgroup& group, size_t count) {
  const auto rank = static_cast<size_t>(&group - groups_.data()) * GROUP / block_threads();
  for (Product& product : group.products) {
    if (count == 0) return;
    if (!product.multiply) continue;
    product.multiply(product, blocks_[rank].view.shared, group.sums.data());
    product.multiply = nullptr;
    count--;
  }
}

void Worker::group_commit() {
  Warpgroup& group = group_now();
  group.groups++;
  group.fenced = false;
}

void Worker::group_wait(uint32_t newest_groups_left) {
  Warpgroup& group = group_now();
  const uint32_t end = group.groups > newest_groups_left ? group.groups - newest_groups_left : 0;
  auto is_left = [&](const Product& product) { return product.group >= end; };
  const auto left = std::find_if(group.products.begin(), group.products.end(), is_left);
  for (auto product = group.products.begin(); product != left; ++product) {
    if (product->multiply)
      product->multiply(*product, block_now().view.shared, group.sums.data());
  }
  if (group.holds_sums && left == group.products.end()) {
    const Product& last = group.products.back();
    for (uint32_t t = 0; t < GROUP; t++) {
      for (uint32_t e = 0; e < last.columns / 2; e++)
        last.accumulators[t][e] = group.sums[row_of(t, e) * last.columns + column_of(t, e)];
    }
    group.holds_sums = false;
  }
  group.products.erase(group.products.begin(), left);
  if (options_.checked) {
    const uint32_t first = now().slot / GROUP * GROUP;
    for (uint32_t t = first; t < first + GROUP; t++) order_.learn(t, group.actor, end);
  }
}

}  // namespace emu
