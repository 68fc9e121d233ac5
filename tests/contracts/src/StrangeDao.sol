// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title A contract that answers like a Governor, in words of the tester's choice.
contract StrangeDao {
    // solhint-disable-next-line var-name-mixedcase
    string public COUNTING_MODE;
    // solhint-disable-next-line var-name-mixedcase
    string public CLOCK_MODE;
    uint256 public constant votingDelay = 1;

    constructor(string memory countingMode, string memory clockMode) {
        COUNTING_MODE = countingMode;
        CLOCK_MODE = clockMode;
    }

    function clock() external view returns (uint48) {
        return uint48(block.number);
    }

    function getVotes(address, uint256) external pure returns (uint256) {
        return 0;
    }
}
