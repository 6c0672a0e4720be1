# cmake --install: headers, library, command, and a package for find_package(octet).
include(CMakePackageConfigHelpers)
set(octet_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/octet)

install(TARGETS ${octet_library} EXPORT octetTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(EXPORT octetTargets NAMESPACE octet:: DESTINATION ${octet_package_dir})

# A static library needs at link time what it was built with; a shared one has it inside.
get_target_property(octet_library_type ${octet_library} TYPE)
configure_package_config_file(cmake/octetConfig.cmake.in ${PROJECT_BINARY_DIR}/octetConfig.cmake
                              INSTALL_DESTINATION ${octet_package_dir}
                              NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/octetConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/octetConfig.cmake ${PROJECT_BINARY_DIR}/octetConfigVersion.cmake
        DESTINATION ${octet_package_dir})

if(TARGET octet_command)
  if(BUILD_SHARED_LIBS)
    file(RELATIVE_PATH octet_lib_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
    set_target_properties(octet_command PROPERTIES INSTALL_RPATH $ORIGIN/${octet_lib_from_bin})
  endif()
  install(TARGETS octet_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
