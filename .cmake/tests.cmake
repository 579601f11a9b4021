# Unit tests and fuzzers, by their place in the tree:
#   tests/unit/<room>/<x>_test.c   one cmocka executable, ctest entry unit.<room>.<x>
#   tests/unit/support/*.c and tests/unit/<room>/<room>_support.c   one helper library, linked to each of them
#   tests/fuzz/<x>_fuzz.c          preset fuzz: a libFuzzer binary; else a replay of its corpus, ctest entry fuzz.<x>
find_path(cmocka_INCLUDE_DIR cmocka.h)
find_library(cmocka_LIBRARY NAMES cmocka)
mark_as_advanced(cmocka_INCLUDE_DIR cmocka_LIBRARY)
if(NOT cmocka_INCLUDE_DIR OR NOT cmocka_LIBRARY)
    message(FATAL_ERROR "cmocka is missing (libcmocka-dev); -DKAMIYO_TESTS=OFF builds without the tests")
endif()
add_library(kamiyo::cmocka INTERFACE IMPORTED)
set_target_properties(kamiyo::cmocka PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${cmocka_INCLUDE_DIR}" INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${cmocka_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${cmocka_LIBRARY}")

# Ends a test that hangs, and measures none: beside other work on the same CPUs the longest takes minutes.
set(longest_test_seconds 900)
set(test_environment
    "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"
    "UBSAN_OPTIONS=print_stacktrace=1" "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1"
    "CMOCKA_MESSAGE_OUTPUT=STDOUT" "KAMIYO_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "KAMIYO_BUILD_DIR=${CMAKE_BINARY_DIR}")

file(GLOB support_sources CONFIGURE_DEPENDS
    "${CMAKE_SOURCE_DIR}/tests/unit/support/*.c" "${CMAKE_SOURCE_DIR}/tests/unit/*/*_support.c")
list(REMOVE_DUPLICATES support_sources)
add_library(test_support INTERFACE)
target_link_libraries(test_support INTERFACE kamiyo kamiyo::cmocka)
if(support_sources)
    add_library(test_support_objects STATIC ${support_sources})
    target_include_directories(test_support_objects PUBLIC "${CMAKE_SOURCE_DIR}/tests/unit" "${CMAKE_SOURCE_DIR}/tests/unit/support")
    target_link_libraries(test_support_objects PUBLIC kamiyo kamiyo::cmocka)
    target_link_libraries(test_support INTERFACE test_support_objects)
endif()

file(GLOB unit_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/unit/*/*_test.c")
if(KAMIYO_PRESET STREQUAL "fuzz")
    set(unit_sources "") # the other presets run them
endif()
foreach(source IN LISTS unit_sources)
    get_filename_component(name "${source}" NAME_WE)
    get_filename_component(directory "${source}" DIRECTORY)
    get_filename_component(room "${directory}" NAME)
    string(REGEX REPLACE "_test$" "" module "${name}")
    add_executable(${name} "${source}")
    target_include_directories(${name} PRIVATE "${directory}")
    target_link_libraries(${name} PRIVATE test_support)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/unit/${room}")
    add_test(NAME unit.${room}.${module} COMMAND ${name})
    set_tests_properties(unit.${room}.${module} PROPERTIES TIMEOUT ${longest_test_seconds} ENVIRONMENT "${test_environment}" LABELS unit)
endforeach()

file(GLOB fuzz_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.c")
foreach(source IN LISTS fuzz_sources)
    get_filename_component(name "${source}" NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" module "${name}")
    add_executable(${name} "${source}")
    target_link_libraries(${name} PRIVATE kamiyo)
    # LLVMFuzzerTestOneInput has no header of its own, so no earlier prototype.
    target_compile_options(${name} PRIVATE -Wno-missing-prototypes)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/fuzz")
    set(inputs "")
    foreach(folder corpus regression)
        if(KAMIYO_PRESET STREQUAL "fuzz" AND NOT IS_DIRECTORY "${CMAKE_SOURCE_DIR}/tests/fuzz/${folder}/${module}")
            continue() # libFuzzer refuses a directory that is not there; the plain driver passes over it
        endif()
        list(APPEND inputs "${CMAKE_SOURCE_DIR}/tests/fuzz/${folder}/${module}")
    endforeach()
    if(KAMIYO_PRESET STREQUAL "fuzz")
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        add_test(NAME fuzz.${module} COMMAND ${name} -runs=0 ${inputs})
    else()
        target_sources(${name} PRIVATE "${CMAKE_SOURCE_DIR}/tests/fuzz/driver.c")
        add_test(NAME fuzz.${module} COMMAND ${name} ${inputs})
    endif()
    set_tests_properties(fuzz.${module} PROPERTIES TIMEOUT ${longest_test_seconds} ENVIRONMENT "${test_environment}" LABELS fuzz)
endforeach()
