// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title Aggregator
/// @notice The one function of Multicall3 that this project uses, to be put at Multicall3's address on a test chain.
contract Aggregator {
    struct Call {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    function aggregate3(Call[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            (results[i].success, results[i].returnData) = calls[i].target.call(calls[i].callData);
            require(results[i].success || calls[i].allowFailure, "Multicall3: call failed");
        }
    }
}
