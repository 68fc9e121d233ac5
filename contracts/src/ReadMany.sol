// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title ReadMany
/// @notice Many calls within one eth_call, on chains and at blocks where Multicall3 is not deployed.
/// @dev Never deployed: an eth_call without an address runs the constructor, and what it returns in place of code
/// is the ABI encoding of the results. A node limits both, so that few calls fit at once.
contract ReadMany {
    struct Call {
        address target;
        bytes data;
    }

    struct Result {
        bool success;
        bytes answer;
    }

    constructor(Call[] memory calls) {
        Result[] memory results = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            (results[i].success, results[i].answer) = calls[i].target.call(calls[i].data);
        }
        bytes memory encoded = abi.encode(results);
        assembly ("memory-safe") {
            return(add(encoded, 32), mload(encoded))
        }
    }
}
