# The machine checks as targets: `cmake --build build/debug --target check_layers`. Each is a script in tests/lint that also
# runs by itself, and `./dev check` runs them all.
file(GLOB checks CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/lint/check_*")
foreach(check IN LISTS checks)
    get_filename_component(name "${check}" NAME_WE)
    add_custom_target(${name}
        COMMAND ${CMAKE_COMMAND} -E env "KAMIYO_BUILD_DIR=${CMAKE_BINARY_DIR}" "CC=${CMAKE_C_COMPILER}" "${check}"
        WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" USES_TERMINAL VERBATIM)
    if(name STREQUAL "check_symbols")
        add_dependencies(${name} kamiyo)
    endif()
endforeach()
