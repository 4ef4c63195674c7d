// hopper: what only a Hopper GPU (sm_90a) has, as a kernel may call it. Like prims.cuh one vocabulary with two
// implementations: prims/hopper_cuda.cuh (the GPU; all assembly of this path) and host/hopper.hpp (the emulator).
//
//   CBP_CLUSTER_KERNEL(name, Args, THREADS, CLUSTER) { ... }   as CBP_KERNEL, in clusters of CLUSTER blocks along x;
//                               Args may hold tensor maps, by value, before its other members
//   cluster_rank()              the block's number in its cluster
//   cluster_sync()              all threads of the cluster; orders memory. After it no block may touch another that
//                               may have ended, so it is also the last thing a kernel does
//   registers_give<N>() registers_take<N>()     this warpgroup has N registers a thread from now on
//
//   Mbarrier, mbarrier_at(byte_offset)    8 bytes of shared memory; phases follow each other, a phase is over when all
//                               have arrived and all announced bytes are there
//     b.init(arrivals)          by one thread, then fence_barrier_init() and cluster_sync()
//     b.arrive() b.arrive_at(rank)    what this thread did before is seen by those who wait; of this block or another
//     b.expect(bytes)           arrives, and announces bytes of copies
//     b.wait(parity)            until the phase of this parity is over: phases 0, 2, 4 ... have parity 0. A wait for
//                               parity 1 before the first phase ends returns at once
//   fence_async()               by the thread that wrote shared memory, before it arrives: copies and wgmma are another
//                               proxy, which does not see plain writes without it
//
//   TensorMap                   engine/cuda/device.rs describes them. Copies are boxes of 64 elements of 16 bits a row,
//                               128 bytes, whose eight 16-byte pieces are permuted: piece i of row r lies at i ^ r % 8;
//                               in shared memory a box begins at a multiple of 1024
//   load_positions(to, map, barrier, c, l, n, offset)    rows are positions from l of example n on, over the borders of
//                               examples as the map walks, each moved by offset; zeros outside
//   load_rows(to, map, barrier, c, row, ranks)    plain rows; to the same place of every block in the bit mask `ranks`,
//                               each of which has its own mbarrier told
//   store_rows(map, from, c, row) store_commit()    the other way; rows behind the tensor's last are left out
//   store_wait_read<N>()        by the same thread, until at most the newest N groups are still reading shared memory;
//                               device memory has them when the launch is over
//
//   stmatrix_x4(address, r)     the reverse of ldmatrix_x4
//   swizzled_operand(address, leading)    names an operand in shared memory, boxes as above. K-major (rows are m or n,
//                               64 of k on end): `leading` is not used; the next 16 of k are 32 bytes on.
//                               MN-major (rows are k): `leading` bytes from 64 of m or n to the next 64; the next 16 of
//                               k are 2048 bytes on
//   wgmma<T, N, MN_A, MN_B>(d, a, b, add)    d = a b + (add ? d : 0) for 64 x N, k = 16, by the 128 threads of a
//                               warpgroup: thread 32w + 4g + q holds as d[4j + 2h + e] row 16w + g + 8h, column
//                               8j + 2q + e. Done only after commit and wait; till then d may not be touched
//   wgmma_u8s8(d, a, b, add)    the same of bytes, a unsigned and b signed, both K-major, s32 sums: 64 x 128, k = 32
//   wgmma_fence() wgmma_commit() wgmma_wait<N>()    before the first of a group; behind the last; until at most the
//                               newest N groups are under way. Operands have to be there at the fence
//   hold(d)                     says to the compiler that d may change here: around every group
#pragma once
#include "prims.cuh"

#ifdef __CUDACC__
#include "hopper_cuda.cuh"
#else
#include "../host/hopper.hpp"
#endif
